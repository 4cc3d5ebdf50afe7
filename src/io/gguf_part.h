// One GGUF file's header, parsed and checked; gguf.cc puts parts together.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/gguf.h"

namespace octet::gguf {

inline constexpr uint32_t kMagic = 0x46554747;  // "GGUF" read as little-endian
inline constexpr uint32_t kVersion = 3;
inline constexpr uint64_t kDefaultAlignment = 32;
// A file with packed matrices (docs/formats/packed.md): their type is kPackedType, plus 256 times
// the number of their layout in kPackedLayoutsKey, plus the type their values would have in any
// other GGUF.
inline constexpr uint32_t kPackedType = 0x4f430000;  // "OC"
inline constexpr uint64_t kPackedAlignment = 4096;   // of a page: matrices share none

inline constexpr char kAlignmentKey[] = "general.alignment";
inline constexpr char kSplitNoKey[] = "split.no";
inline constexpr char kSplitCountKey[] = "split.count";
inline constexpr char kSplitTensorsKey[] = "split.tensors.count";

struct Part {
  GgufMetadata metadata;
  std::vector<TensorInfo> tensors;
  std::vector<uint64_t> begin;  // [tensors] first byte of the data, from the start of the file
};

/// Everything but the tensors' values. kFull: also that the values are all there.
Result<Part> ParsePart(std::span<const std::byte> bytes, std::string_view where, OpenMode mode);

}  // namespace octet::gguf
