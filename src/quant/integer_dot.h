// The integer-exact dot product of one weight row with one quantised activation row: the contract
// that every integer kernel meets with `==`, whatever its instruction set, tiling or number of
// tokens.
//
// Integers are exact in any order, so kernels may sum them as they like; the floats are few and
// their order is fixed. All integers are int32 (the greatest magnitude, in Q6_K and IQ4_XS, is
// below 2^27), float(i) rounds to nearest even, and every fma rounds once.
//
// Super-block formats read activations with a scale `a` per super-block (activation.h). For each
// super-block b, in order of columns, starting with acc = 0:
//   Q4_K, Q5_K   isum = Σ_g scale[g] · Σ_k code[k]·q[k]     (8 groups of 32)
//                imin = Σ_g min[g] · sum32[g]
//   Q2_K         the same with 16 groups of 16 and sum16
//                v = d · float(isum);  v = fma(−dmin, float(imin), v);  acc = fma(v, a, acc)
//   Q3_K         isum = Σ_g (scale[g] − 32) · Σ_k (code[k] − 4)·q[k]     (16 groups of 16)
//   Q6_K         isum = Σ_g scale[g] · Σ_k (code[k] − 32)·q[k]           (16 groups of 16)
//   IQ4_XS       isum = Σ_g (scale[g] − 32) · Σ_k level[code[k]]·q[k]    (8 groups of 32)
//                v = d · float(isum);  acc = fma(v, a, acc)
//
// Formats with blocks of 32 read activations with a scale `a` per 32. For each block, in order of
// columns, starting with acc = 0:
//   Q8_0         isum = Σ_k weight[k]·q[k]
//   Q4_0, Q5_0   isum = Σ_k (code[k] − 8 or 16)·q[k]
//   IQ4_NL       isum = Σ_k level[code[k]]·q[k]
//                v = d · float(isum);  acc = fma(v, a, acc)
//   Q4_1, Q5_1   isum = Σ_k code[k]·q[k]
//                v = d · float(isum);  v = fma(m, float(sum32), v);  acc = fma(v, a, acc)
// Blocks past the end of the row are as if absent; since their activations are 0, a kernel may also
// run over padding with d = m = 0.
//
// d, dmin and m are the binary16 values of the block, converted exactly. A zero result may have
// either sign. Where a weight's or an activation's scale is infinite or NaN, the result is NaN or
// infinite, without a promise of bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/activation.h"
#include "quant/format.h"

namespace octet {

/// Dot product of `cols` weights (whole blocks, as the file has them) with ceil(cols / 256)
/// activation blocks, continuing from `acc`: a row may be walked in parts that are multiples of 256
/// columns, the first from 0.
using IntegerDotFn = float (*)(const std::byte* row, const ActivationBlock* x, int64_t cols,
                               float acc);

/// Whether the format's products read activations with a scale per 32 values, not per 256.
bool ReadsScalesPer32(Format format);

/// The scalar oracle for a format; null for F32, F16 and BF16, which have no integers.
IntegerDotFn FindIntegerDot(Format format);

}  // namespace octet
