// A model on disk as people have it: a folder from Hugging Face, a folder from Mistral, a GGUF
// file.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/gguf.h"
#include "io/tensor_source.h"

namespace octet {

enum class CheckpointKind {
  kHuggingFace,  // config.json, *.safetensors
  kMistral,      // params.json, consolidated.safetensors or consolidated.*.pth
  kGguf,
};

struct Checkpoint {
  CheckpointKind kind = CheckpointKind::kGguf;
  std::filesystem::path path;             // as given
  nlohmann::json config;                  // config.json or params.json; null for GGUF
  std::unique_ptr<TensorSource> tensors;  // never null
  const GgufMetadata* gguf = nullptr;     // of `tensors`, for GGUF only
  std::vector<std::string>
      missing_files;  // headers-only: shards the index names that are not there
  /// Headers-only: tensors that the index names but whose shard is absent, in index order.
  std::vector<std::string> missing_tensors;
};

/// Recognises what `path` is by what it holds; a folder with both HF and Mistral files is read as
/// HF. A folder with one .gguf file (or one split set) and no other model is that GGUF. Errors say
/// what was looked for and found.
Result<Checkpoint> OpenCheckpoint(const std::filesystem::path& path,
                                  OpenMode mode = OpenMode::kFull);

/// A GGUF in memory (the embedded model), which must outlive the checkpoint; `name` stands for its
/// path, in errors too.
Result<Checkpoint> OpenCheckpointFromBytes(std::span<const std::byte> gguf, std::string_view name);

}  // namespace octet
