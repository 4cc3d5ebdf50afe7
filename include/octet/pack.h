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

struct PackOptions : WriteOptions {
  std::string type;  // one of QuantizeTypes() to quantise first; empty: as stored
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
