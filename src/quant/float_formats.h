// F32, F16 and BF16: one value a block, little-endian IEEE binary32, IEEE binary16, and the upper
// half of a binary32. Decoding is exact; encoding rounds to nearest, ties to even (F16 beyond 65504
// becomes infinity), and keeps infinities and NaNs.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet {

void DecodeF32(const std::byte* blocks, int64_t n, float* out);
void DecodeF16(const std::byte* blocks, int64_t n, float* out);
void DecodeBf16(const std::byte* blocks, int64_t n, float* out);

void EncodeF32(const float* values, int64_t n, std::byte* blocks);
void EncodeF16(const float* values, int64_t n, std::byte* blocks);
void EncodeBf16(const float* values, int64_t n, std::byte* blocks);

/// The same: a value alone has nothing to weigh.
void EncodeWeightedF32(const float* values, const float* importance, int64_t n, std::byte* blocks);
void EncodeWeightedF16(const float* values, const float* importance, int64_t n, std::byte* blocks);
void EncodeWeightedBf16(const float* values, const float* importance, int64_t n, std::byte* blocks);

}  // namespace octet
