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

}  // namespace octet
