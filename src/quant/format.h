// Storage formats of tensors: names, block sizes and the scalar codecs. formats.def is the list.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace octet {

enum class Format : uint8_t {
#define OCTET_FORMAT(id, name, ggml, values, bytes) k##id,
#include "quant/formats.def"
#undef OCTET_FORMAT
};

inline constexpr int kFormatCount = 0
#define OCTET_FORMAT(id, name, ggml, values, bytes) +1
#include "quant/formats.def"
#undef OCTET_FORMAT
    ;

/// Decodes `n` values (a multiple of the block size) to float, exactly as the format defines them.
using DecodeFn = void (*)(const std::byte* blocks, int64_t n, float* out);
/// Encodes `n` values (a multiple of the block size), round to nearest; plain, without importance.
using EncodeFn = void (*)(const float* values, int64_t n, std::byte* blocks);

/// Encodes `n` values so that Σ importance · (value − decoded)² is small: where the format has
/// freedom (scales, minima), it is searched. `importance` holds n weights ≥ 0, or is null for all
/// equal.
using EncodeWeightedFn = void (*)(const float* values, const float* importance, int64_t n,
                                  std::byte* blocks);

struct FormatInfo {
  Format format;
  std::string_view name;  // "Q4_K"
  uint32_t ggml_type;
  int32_t block_values;
  int32_t block_bytes;
  DecodeFn decode;
  EncodeFn encode;                   // nullptr where nothing here writes the format yet
  EncodeWeightedFn encode_weighted;  // likewise
};

const FormatInfo& Info(Format format);

/// Case-insensitive: "q4_k", "Q4_K". No value for an unknown name.
std::optional<Format> FormatFromName(std::string_view name);
std::optional<Format> FormatFromGgml(uint32_t ggml_type);

/// Bytes of `n` values; n must be a multiple of the block size.
inline int64_t FormatBytes(Format format, int64_t n) {
  const FormatInfo& info = Info(format);
  return n / info.block_values * info.block_bytes;
}

}  // namespace octet
