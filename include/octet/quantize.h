// Quantises a checkpoint: a GGUF whose matrices are in block formats. Part of the public facade.
// How it is used: docs/guides/quantize.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "octet/convert.h"
#include "octet/error.h"

namespace octet {

struct QuantizeOptions : WriteOptions {
  std::string type = "q4_k_m";  // one of QuantizeTypes()
  /// Block or float formats ("q6_k", "f16") that replace the type's own choice; empty: none.
  std::string experts;                 // for w1, w2, w3
  std::string attention;               // for wq, wk, wv, wo
  std::vector<std::string> overrides;  // "REGEX=FORMAT", searched in GGUF tensor names, first match
                                       // wins, over the two above too
  std::filesystem::path imatrix;       // from octet imatrix or llama.cpp; empty: none
  bool dry_run = false;                // only say what would be written; headers are enough

  uint64_t max_part_bytes = 0;  // of a GGUF part; 0: one file
};

struct QuantizedTensor {
  std::string name;  // in the GGUF
  std::vector<int64_t> shape;
  std::string from, to;  // formats; `from` is that of its first part
  uint64_t bytes = 0;    // as written
};

struct QuantizeReport {
  std::vector<QuantizedTensor> tensors;
  uint64_t values = 0, bytes = 0;  // of all tensors, as written
  uint64_t source_bytes = 0;       // of the same tensors in the source
  std::vector<std::string> notes;  // what a user should know about the result
  ConvertReport written;           // empty after a dry run
};

/// From any readable checkpoint. Scales are searched for the least squared error. What Convert
/// (octet/convert.h) promises about memory, resuming and partial files holds here too. Errors:
/// kInvalidArgument for an unknown type, and those of Convert.
Result<QuantizeReport> Quantize(const std::filesystem::path& source,
                                const std::filesystem::path& destination,
                                const QuantizeOptions& options);

/// "f32" … "q2_k", from the largest file to the smallest.
std::vector<std::string_view> QuantizeTypes();

}  // namespace octet
