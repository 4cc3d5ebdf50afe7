// Activations as the integer kernels read them: int8 values with one float scale a super-block of
// 256 or a block of 32, and the sums that the offsets of weight formats need. One definition, met
// bit for bit by every instruction set, so that results do not depend on which kernel made or read
// them.
//
// For a group of values of a row x of `cols` floats (the values past `cols` count as 0): a
// super-block of 256, or a block of 32.
//   top   = the greatest of |x[k]|, compared as bit patterns (so that a NaN is the greatest of all)
//   scale = top / 127,  inverse = 127 / top
//   q[k]  = x[k] · inverse, rounded to the nearest integer, ties to even; |q| ≤ 127
// each operation in float, rounded to nearest even. Two exceptions:
//   top < 2^-100 (where 127 / top nears overflow): scale = 0 and all q = 0
//   top infinite or NaN: scale = NaN and all q = 0, so that the outputs of the row are NaN as they
//   would be in float arithmetic, and not quietly wrong.
// In either case  sum16[g] = Σ q[16g … 16g+15],  sum32[g] = Σ q[32g … 32g+31].
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet {

inline constexpr int64_t kActivationBlock = 256;

/// 256 columns of a row. Which of the two it holds follows from the weights it meets
/// (quant/integer_dot.h).
struct alignas(64) ActivationBlock {
  int8_t q[kActivationBlock];
  union {
    int16_t sum16[16];  // one scale for all: within ±2032
    float scale32[8];   // a scale per 32
  };
  int16_t sum32[8];  // within ±4064
  float scale;       // one for all; 0 where there is one per 32
};
static_assert(sizeof(ActivationBlock) == 320);

/// 256 columns of a row rounded to bf16, to nearest even (a NaN stays one): what bf16 tiles read.
struct alignas(64) RoundedBlock {
  uint16_t bf16[kActivationBlock];
};

/// Quantises one row: out[0 … ceil(cols / 256)). Scalar reference of the definition above, with a
/// scale per 256 values.
void QuantizeActivations(const float* x, int64_t cols, ActivationBlock* out);
/// The same with a scale per 32.
void QuantizeActivations32(const float* x, int64_t cols, ActivationBlock* out);

}  // namespace octet
