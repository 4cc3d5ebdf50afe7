#include "api/train_data.h"

#include <fmt/ranges.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace octet {
namespace {

namespace fs = std::filesystem;

/// "NAME=PATH[,PATH…][@WEIGHT]".
struct SourceSpec {
  std::string name;
  std::vector<fs::path> files;
  double weight = 1;
};

/// Takes "@WEIGHT" from the end of `paths`.
Result<double> TakeWeight(const std::string& name, std::string& paths) {
  const size_t at = paths.rfind('@');
  if (at == std::string::npos) return 1.0;
  char* end = nullptr;
  const std::string text = paths.substr(at + 1);
  const double weight = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(weight > 0) || !std::isfinite(weight)) {
    return Err(ErrorCode::kInvalidArgument, "source {}: weight \"{}\" is not a number above 0",
               name, text);
  }
  paths.resize(at);
  return weight;
}

Result<SourceSpec> ParseSource(const std::string& text, bool weighted) {
  SourceSpec spec;
  const size_t equals = text.find('=');
  std::string paths = equals == std::string::npos ? "" : text.substr(equals + 1);
  spec.name = text.substr(0, equals);
  if (weighted) {
    OCTET_ASSIGN(spec.weight, TakeWeight(spec.name, paths));
  }
  for (size_t first = 0; first <= paths.size();) {
    const size_t comma = std::min(paths.find(',', first), paths.size());
    if (comma > first) spec.files.emplace_back(paths.substr(first, comma - first));
    first = comma + 1;
  }
  const bool named = !spec.name.empty() && spec.name.find_first_of("/\\. ") == std::string::npos;
  if (!named || spec.files.empty()) {
    return Err(ErrorCode::kInvalidArgument,
               "source \"{}\": expected NAME=PATH[,PATH…]{}, a name without dots, slashes and "
               "spaces",
               text, weighted ? "[@WEIGHT]" : "");
  }
  return spec;
}

/// `path`: where the tokens are, or will be.
Result<Source> OpenSource(const SourceSpec& spec, const fs::path& path, const Tokenizer& tokenizer,
                          const TokeniseOptions& tokenise) {
  OCTET_ASSIGN(const DocumentKind kind, RecogniseDocuments(spec.files.front()));
  OCTET_ASSIGN(const uint64_t key, DocumentsKey(spec.files, tokenizer, tokenise));
  auto file = TokenFile::Open(path);
  if (!file || file->key() != key) {
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    TokenFileWriter writer(tokenizer.vocab_size(), kind != DocumentKind::kText);
    OCTET_TRY(Tokenise(spec.files, tokenizer, tokenise, writer));
    OCTET_TRY(writer.Write(path, key));
    file = TokenFile::Open(path);
    if (!file) return tl::unexpected<Error>(file.error());
  }
  const int64_t documents = file->documents();
  return Source{spec.name, spec.weight, kind, *std::move(file), documents};
}

}  // namespace

Result<ChatFormat> ChatFormatOf(const TrainOptions& options, const Tokenizer& tokenizer) {
  if (options.chat_format.empty()) {
    const ChatFormat format = RecogniseChatFormat(tokenizer.vocabulary());
    return format == ChatFormat::kRaw ? DefaultChatFormat(tokenizer.vocabulary()) : format;
  }
  if (const auto format = ChatFormatFromName(options.chat_format)) return *format;
  std::vector<std::string_view> names;
  for (const ChatFormat format : kChatFormats) names.push_back(ChatFormatName(format));
  return Err(ErrorCode::kInvalidArgument, "there is no chat format \"{}\"; expected {}",
             options.chat_format, fmt::join(names, ", "));
}

Result<std::vector<Source>> OpenSources(const TrainOptions& options, const Tokenizer& tokenizer) {
  OCTET_ASSIGN(const ChatFormat format, ChatFormatOf(options, tokenizer));
  TokeniseOptions tokenise{format, options.stop, options.threads};
  std::vector<Source> sources;
  auto add = [&](const std::string& text, bool learned) -> Status {
    OCTET_ASSIGN(const SourceSpec spec, ParseSource(text, learned));
    for (const Source& other : sources) {
      if (other.name != spec.name) continue;
      return Err(ErrorCode::kInvalidArgument, "two sources are called {}; give each its own name",
                 spec.name);
    }
    const fs::path path = options.output / "data" / (spec.name + ".tokens");
    if (options.on_tokenise) {
      tokenise.on_read = [&](int64_t done, int64_t total) {
        options.on_tokenise(spec.name, done, total);
      };
    }
    OCTET_ASSIGN(Source source, OpenSource(spec, path, tokenizer, tokenise));
    const int64_t a_pair = source.kind == DocumentKind::kPreferences ? 2 : 1;
    if (source.documents == 0) {
      return Err(ErrorCode::kInvalidArgument, "source {}: {} holds no document", spec.name,
                 spec.files.front().string());
    }
    if (learned) {
      if (source.documents <= options.held_out * a_pair) {
        return Err(ErrorCode::kInvalidArgument,
                   "source {} has {} documents, of which {} are to be held out; none is left to "
                   "learn from",
                   spec.name, source.documents / a_pair, options.held_out);
      }
      source.documents -= options.held_out * a_pair;
    } else {
      source.weight = 0;
      source.documents = 0;
    }
    sources.push_back(std::move(source));
    return {};
  };
  for (const std::string& text : options.sources) OCTET_TRY(add(text, true));
  for (const std::string& text : options.held_out_sources) OCTET_TRY(add(text, false));
  return sources;
}

}  // namespace octet
