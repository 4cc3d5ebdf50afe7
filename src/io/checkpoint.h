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
#include "io/mapped_tensors.h"
#include "io/tensor_source.h"

namespace octet {

enum class CheckpointKind {
  kHuggingFace,  // config.json, *.safetensors
  kMistral,      // params.json, consolidated.safetensors or consolidated.*.pth
  kGguf,
};

struct Checkpoint {
  CheckpointKind kind = CheckpointKind::kGguf;
  std::filesystem::path path;                // the folder, or the GGUF file as given
  nlohmann::json config;                     // config.json or params.json; null for GGUF
  std::unique_ptr<TensorSource> tensors;     // never null
  const GgufMetadata* gguf = nullptr;        // of `tensors`, for GGUF only
  std::vector<std::filesystem::path> files;  // that `tensors` reads
  /// Tensors that are in the files but cannot be used: their type or strides. A full opening skips
  /// only those a model may do without (integer buffers), and is an error otherwise.
  std::vector<SkippedTensor> skipped_tensors;
  /// Headers-only: files that the index or the numbering of the others names, sorted.
  std::vector<std::string> missing_files;
  /// Headers-only: tensors that the index names but whose shard is absent, sorted.
  std::vector<std::string> missing_tensors;
};

/// Recognises what `path` is by what it holds; a folder with both HF and Mistral weights is read as
/// HF, unless `path` is one of the Mistral files. A .safetensors, .pth or .json file stands for its
/// folder. A folder with one .gguf file (or one split set) and no other model is that GGUF. A
/// configuration without any weights is enough for headers-only. Errors say what was looked for.
Result<Checkpoint> OpenCheckpoint(const std::filesystem::path& path,
                                  OpenMode mode = OpenMode::kFull);

/// A GGUF in memory (the embedded model), which must outlive the checkpoint; `name` stands for its
/// path, in errors too.
Result<Checkpoint> OpenCheckpointFromBytes(std::span<const std::byte> gguf, std::string_view name);

}  // namespace octet
