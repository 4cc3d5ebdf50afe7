#include "io/checkpoint.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include "io/gguf_split.h"
#include "io/json.h"
#include "io/shards.h"

namespace octet {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = 4u << 20;

// The names of a folder's files, sorted.
struct Folder {
  fs::path path;
  std::vector<std::string> files;

  bool Has(std::string_view name) const {
    return std::binary_search(files.begin(), files.end(), name);
  }
  template <class Predicate>
  std::vector<std::string> Select(Predicate predicate) const {
    std::vector<std::string> selected;
    std::copy_if(files.begin(), files.end(), std::back_inserter(selected), predicate);
    return selected;
  }
};

Result<Folder> ListFolder(const fs::path& path) {
  Folder folder = {path, {}};
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    folder.files.push_back(it->path().filename().string());
  }
  if (error) {
    return Err(ErrorCode::kIo, "{}: cannot list the folder: {}", path.string(), error.message());
  }
  std::sort(folder.files.begin(), folder.files.end());
  return folder;
}

bool IsMistralName(std::string_view name) {
  return name.starts_with("consolidated") &&
         (name.ends_with(".safetensors") || name.ends_with(".pth") || name.ends_with(".pt"));
}

// How a folder's weights are stored: by an index, else as parts; neither when it has none.
struct WeightFiles {
  std::string index;
  std::vector<std::string> parts;
  bool any() const { return !index.empty() || !parts.empty(); }
};

// The first index there is, else `whole` if it is there, else all files that fit the first
// suffix any file fits.
template <class Predicate>
WeightFiles FindWeights(const Folder& folder, std::initializer_list<std::string_view> indices,
                        std::string_view whole, std::initializer_list<std::string_view> suffixes,
                        Predicate is_weight) {
  for (const std::string_view index : indices) {
    if (folder.Has(index)) return {std::string(index), {}};
  }
  if (folder.Has(whole)) return {{}, {std::string(whole)}};
  for (const std::string_view suffix : suffixes) {
    auto parts = folder.Select(
        [&](std::string_view name) { return name.ends_with(suffix) && is_weight(name); });
    if (!parts.empty()) return {{}, std::move(parts)};
  }
  return {};
}

WeightFiles HuggingFaceWeights(const Folder& folder) {
  return FindWeights(folder, {"model.safetensors.index.json", "pytorch_model.bin.index.json"},
                     "model.safetensors", {".safetensors", ".bin"}, [](std::string_view name) {
                       return !IsMistralName(name) && !name.starts_with("adapter_") &&
                              (name.ends_with(".safetensors") || name.starts_with("pytorch_model"));
                     });
}

WeightFiles MistralWeights(const Folder& folder) {
  return FindWeights(folder, {"consolidated.safetensors.index.json"}, "consolidated.safetensors",
                     {".safetensors", ".pth", ".pt"}, IsMistralName);
}

Result<Checkpoint> OpenFolderAs(CheckpointKind kind, const Folder& folder,
                                const WeightFiles& weights, OpenMode mode) {
  const char* const config_name =
      kind == CheckpointKind::kHuggingFace ? "config.json" : "params.json";
  Checkpoint checkpoint;
  checkpoint.kind = kind;
  checkpoint.path = folder.path;
  if (!folder.Has(config_name)) {
    return Err(ErrorCode::kNotFound,
               "{}: has weights but no {}; fetch it from where they came from",
               folder.path.string(), config_name);
  }
  OCTET_ASSIGN(checkpoint.config, ReadJsonFile(folder.path / config_name, kMaxConfigBytes));
  if (!checkpoint.config.is_object()) {
    return Err(ErrorCode::kCorrupt, "{}: expected a JSON object",
               (folder.path / config_name).string());
  }
  if (!weights.any() && mode == OpenMode::kFull) {
    return Err(ErrorCode::kNotFound, "{}: has {} but no weights; expected {}", folder.path.string(),
               config_name,
               kind == CheckpointKind::kHuggingFace
                   ? "model.safetensors, or model.safetensors.index.json and the files it names"
                   : "consolidated.safetensors, or consolidated.00.pth and its siblings");
  }
  OpenedTensors opened;
  if (!weights.index.empty()) {
    OCTET_ASSIGN(opened, OpenIndex(folder.path / weights.index, mode));
  } else {
    OCTET_ASSIGN(opened, OpenParts(folder.path, weights.parts, mode));
  }
  for (int i = 0; i < opened.tensors->n_files(); ++i) {
    checkpoint.files.emplace_back(opened.tensors->file_name(i));
  }
  checkpoint.skipped_tensors = opened.tensors->skipped();
  checkpoint.tensors = std::move(opened.tensors);
  checkpoint.missing_files = std::move(opened.missing_files);
  checkpoint.missing_tensors = std::move(opened.missing_tensors);
  return checkpoint;
}

Result<Checkpoint> OpenAsGguf(const fs::path& path, OpenMode mode) {
  OCTET_ASSIGN(std::unique_ptr<GgufFile> file, OpenGguf(path, mode));
  Checkpoint checkpoint;
  checkpoint.kind = CheckpointKind::kGguf;
  checkpoint.path = path;
  checkpoint.gguf = &file->metadata();
  checkpoint.missing_files = file->missing_files();
  checkpoint.tensors = std::move(file);
  if (const auto split = gguf::ParseSplitName(path)) {
    for (int part = 1; part <= split->count; ++part) {
      std::error_code ignored;
      if (fs::exists(split->Path(part), ignored)) checkpoint.files.push_back(split->Path(part));
    }
  } else {
    checkpoint.files.push_back(path);
  }
  return checkpoint;
}

// One model a folder: a split set counts once, by its first part there is.
Result<Checkpoint> OpenGgufFolder(const Folder& folder, const std::vector<std::string>& files,
                                  OpenMode mode) {
  std::set<std::string> sets;
  std::vector<std::string> firsts;
  for (const std::string& file : files) {
    const auto split = gguf::ParseSplitName(file);
    if (sets.insert(split ? split->prefix.string() : file).second) firsts.push_back(file);
  }
  if (firsts.size() > 1) {
    return Err(ErrorCode::kInvalidArgument, "{}: holds {} models ({}); name one of the files",
               folder.path.string(), firsts.size(), fmt::join(firsts, ", "));
  }
  return OpenAsGguf(folder.path / firsts.front(), mode);
}

Result<Checkpoint> OpenFolder(const fs::path& path, bool prefer_mistral, OpenMode mode) {
  OCTET_ASSIGN(const Folder folder, ListFolder(path));
  const WeightFiles hf = HuggingFaceWeights(folder);
  const WeightFiles mistral = MistralWeights(folder);
  if (mistral.any() && (prefer_mistral || !hf.any() || !folder.Has("config.json"))) {
    if (folder.Has("params.json") || !hf.any())
      return OpenFolderAs(CheckpointKind::kMistral, folder, mistral, mode);
  }
  if (hf.any()) return OpenFolderAs(CheckpointKind::kHuggingFace, folder, hf, mode);
  const auto ggufs = folder.Select([](std::string_view name) { return name.ends_with(".gguf"); });
  if (!ggufs.empty()) return OpenGgufFolder(folder, ggufs, mode);
  if (folder.Has("config.json"))
    return OpenFolderAs(CheckpointKind::kHuggingFace, folder, hf, mode);
  if (folder.Has("params.json"))
    return OpenFolderAs(CheckpointKind::kMistral, folder, mistral, mode);
  return Err(ErrorCode::kNotFound,
             "{}: no model here; expected config.json with *.safetensors (Hugging Face), "
             "params.json with consolidated.* (Mistral), or a .gguf file, among its {} files",
             path.string(), folder.files.size());
}

}  // namespace

Result<Checkpoint> OpenCheckpoint(const fs::path& path, OpenMode mode) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    return Err(ErrorCode::kNotFound, "{}: no such file or folder", path.string());
  }
  if (fs::is_directory(status)) return OpenFolder(path, false, mode);
  const std::string name = path.filename().string();
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  for (const std::string_view suffix : {".safetensors", ".pth", ".pt", ".bin", ".json"}) {
    if (name.ends_with(suffix))
      return OpenFolder(parent, IsMistralName(name) || name == "params.json", mode);
  }
  return OpenAsGguf(path, mode);  // whatever it is called: the first bytes tell
}

}  // namespace octet
