// Writes a model in the order in which this machine's kernels read it, so that loading it is a map.
// Part of the public facade. The file: docs/formats/packed.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "octet/convert.h"
#include "octet/error.h"

namespace octet {

struct PackOptions {
  std::string type;                 // one of QuantizeTypes() to quantise first; empty: as stored
  std::filesystem::path tokenizer;  // a file or folder to take it from; empty: the source
  bool resume = false;              // continue an interrupted run
  bool force = false;               // replace an existing destination, drop a partial one
  bool show_progress = false;       // a bar on stderr
  int threads = 0;                  // 0: one a core
  const std::atomic<bool>* stop = nullptr;  // set from elsewhere: ends with kCancelled, resumable
};

struct PackReport {
  ConvertReport written;
  std::string
      packed_for;  // "x86_64: avx2 avx512 …": the kernels chosen here (OCTET_ISA limits them)
};

/// From any readable checkpoint. The result is a file for Octet alone, on machines whose kernels
/// read the same layouts: it starts at once, and processes share its pages. Results are the same
/// bits as from a GGUF of the same types. What Convert (octet/convert.h) promises about resuming
/// and partial files holds here too; memory: twice the largest matrix. Errors: kUnsupported when no
/// matrix would change, and those of Convert.
Result<PackReport> PackModel(const std::filesystem::path& source,
                             const std::filesystem::path& destination, const PackOptions& options);

}  // namespace octet
