#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/file.h"
#include "io/gguf.h"
#include "text/gguf_vocabulary.h"
#include "text/sentencepiece_proto.h"
#include "text/tokenizer.h"
#include "text/tokenizer_config.h"
#include "text/tokenizer_json.h"

namespace octet {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxTokenizerBytes = 256u << 20;
/// In this order; the numbered names are those of Mistral's own folders.
constexpr const char* kNames[] = {"tokenizer.model", "tokenizer.model.v1", "tokenizer.model.v2",
                                  "tokenizer.model.v3", "tokenizer.json"};

bool Exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

Result<std::unique_ptr<Tokenizer>> FromGguf(const fs::path& path) {
  // A vocabulary needs no tensor, so a file still being downloaded will do.
  OCTET_ASSIGN(const auto file, OpenGguf(path, OpenMode::kHeadersOnly));
  OCTET_ASSIGN(Vocabulary vocabulary, VocabularyFromGguf(file->metadata(), path.string()));
  return TokenizerFromVocabulary(std::move(vocabulary), path.string());
}

/// A tokenizer.model or tokenizer.json, with what its folder says beside it.
Result<std::unique_ptr<Tokenizer>> FromFile(const fs::path& path) {
  OCTET_ASSIGN(const std::string content, ReadTextFile(path, kMaxTokenizerBytes));
  OCTET_ASSIGN(const TokenizerConfig config, ReadTokenizerConfig(path.parent_path()));
  const std::string where = path.string();
  const size_t first = content.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && content[first] == '{') {
    OCTET_ASSIGN(TokenizerJson parsed, ParseTokenizerJson(content, where));
    OCTET_TRY(ApplyTokenizerConfig(config, parsed.vocabulary));
    return MakeTokenizer(std::move(parsed), where);
  }
  OCTET_ASSIGN(Vocabulary vocabulary, ParseSentencePieceModel(content, where));
  OCTET_TRY(ApplyTokenizerConfig(config, vocabulary));
  return TokenizerFromVocabulary(std::move(vocabulary), where);
}

/// The first file (of a split set: part) of a folder's GGUF; empty when there is none. Errors:
/// kInvalidArgument when there are several models to choose from.
Result<fs::path> FindGguf(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(folder, failed)) {
    if (entry.path().extension() == ".gguf") found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  if (found.empty()) return fs::path();
  // Parts of one set differ in their number only: NAME-00001-of-00003.gguf.
  auto set_name = [](const fs::path& path) {
    const std::string stem = path.stem().string();
    const size_t of = stem.rfind("-of-");
    return of == std::string::npos || of < 6 ? stem : stem.substr(0, of - 6);
  };
  for (const fs::path& path : found) {
    if (set_name(path) != set_name(found[0])) {
      return Err(ErrorCode::kInvalidArgument,
                 "{}: several GGUF models ({}, {}); name the file to use", folder.string(),
                 found[0].filename().string(), path.filename().string());
    }
  }
  return found[0];
}

Result<std::unique_ptr<Tokenizer>> FromFolder(const fs::path& folder) {
  for (const char* name : kNames) {
    if (Exists(folder / name)) return FromFile(folder / name);
  }
  OCTET_ASSIGN(const fs::path gguf, FindGguf(folder));
  if (!gguf.empty()) return FromGguf(gguf);
  return Err(ErrorCode::kNotFound,
             "{}: no tokenizer here; looked for tokenizer.model, tokenizer.json and *.gguf",
             folder.string());
}

bool IsGguf(const fs::path& path) {
  if (path.extension() == ".gguf") return true;
  char magic[4] = {};
  std::ifstream(path, std::ios::binary).read(magic, sizeof(magic));
  return std::string_view(magic, sizeof(magic)) == "GGUF";
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> LoadTokenizer(const fs::path& model_path) {
  std::error_code ignored;
  if (!fs::exists(model_path, ignored)) {
    return Err(ErrorCode::kNotFound,
               "{}: no such file or folder; expected a model folder, a .gguf, a tokenizer.model or "
               "a tokenizer.json",
               model_path.string());
  }
  if (fs::is_directory(model_path, ignored)) return FromFolder(model_path);
  if (IsGguf(model_path)) return FromGguf(model_path);
  return FromFile(model_path);
}

}  // namespace octet
