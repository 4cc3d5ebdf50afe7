// Converts a checkpoint between the forms people have models in. Part of the public facade.
// How it is used: docs/guides/convert.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "octet/error.h"

namespace octet {

enum class ConvertTarget {
  kAuto,         // GGUF when the destination ends in .gguf, else a Hugging Face folder
  kGguf,         // one file, or several with max_part_bytes
  kHuggingFace,  // config.json, sharded safetensors, tokenizer files
};

/// How matrices are stored. Norms and routers are F32 in a GGUF whatever is asked, as GGUF programs
/// expect.
enum class ConvertType {
  kDefault,  // as in the source; BF16 for a Hugging Face folder made from quantised blocks
  kKeep,     // as in the source, or an error where the destination cannot hold that
  kF32,
  kF16,
  kBf16,
  kQ8_0,
};

/// What every command that writes a checkpoint can be told.
struct WriteOptions {
  std::filesystem::path tokenizer;          // a file or folder to take it from; empty: the source
  bool resume = false;                      // continue where an interrupted run ended
  bool force = false;                       // replace an existing destination, drop a partial one
  bool show_progress = false;               // a bar on stderr
  int threads = 0;                          // 0: one a core
  const std::atomic<bool>* stop = nullptr;  // set from elsewhere: ends with kCancelled, resumable
};

struct ConvertOptions : WriteOptions {
  ConvertTarget target = ConvertTarget::kAuto;
  ConvertType type = ConvertType::kDefault;
  uint64_t max_shard_bytes = 5'000'000'000;  // of a safetensors file
  uint64_t max_part_bytes = 0;               // of a GGUF part; 0: one file
  /// Key/value heads of the result, a divisor of the source's: means of neighbouring heads, for
  /// grouped-query attention. 0: as in the source.
  int64_t kv_heads = 0;
};

struct ConvertReport {
  std::vector<std::filesystem::path> files;  // written, in order
  uint64_t tensors = 0;
  uint64_t bytes = 0;              // of all files
  uint64_t resumed_bytes = 0;      // of these, already there from an interrupted run
  std::vector<std::string> notes;  // what a user should know about the result
};

/// From any readable checkpoint (Hugging Face or Mistral folder, GGUF) to a new one. The
/// destination appears only when it is whole; until then the work is beside it under ".partial".
/// Memory: at most a few tens of MiB above the largest source tensor. Errors: kInvalidArgument for
/// a destination that exists (without force), and what reading, writing and the model can cause.
Result<ConvertReport> Convert(const std::filesystem::path& source,
                              const std::filesystem::path& destination,
                              const ConvertOptions& options);

/// "keep", "f32", "f16", "bf16", "q8_0"; kInvalidArgument lists them.
Result<ConvertType> ConvertTypeFromName(std::string_view name);

}  // namespace octet
