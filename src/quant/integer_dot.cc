#include "quant/integer_dot.h"

#include <cmath>
#include <cstring>

#include "base/f16.h"
#include "quant/iq4_nl.h"
#include "quant/iq4_xs.h"
#include "quant/q2_k.h"
#include "quant/q3_k.h"
#include "quant/q4_0.h"
#include "quant/q4_1.h"
#include "quant/q4_k.h"
#include "quant/q5_0.h"
#include "quant/q5_1.h"
#include "quant/q5_k.h"
#include "quant/q6_k.h"
#include "quant/q8_0.h"

namespace octet {
namespace {

float Half(uint16_t bits) { return ToFloat(F16{bits}); }

int32_t Dot(const int8_t* codes, const int8_t* q, int n) {
  int32_t sum = 0;
  for (int k = 0; k < n; ++k) sum += codes[k] * q[k];
  return sum;
}

/// Σ_g scale[g] · Σ_k code[k]·q[k] over a super-block with `groups` groups.
template <class Scale>
int32_t ScaledDot(const int8_t codes[256], const Scale* scales, int groups, const int8_t* q) {
  const int size = 256 / groups;
  int32_t sum = 0;
  for (int g = 0; g < groups; ++g) sum += scales[g] * Dot(codes + g * size, q + g * size, size);
  return sum;
}

// The integers of one block: its codes in order of columns, offsets of the code already subtracted.

void Codes(const BlockQ8_0& b, int8_t* codes) { std::memcpy(codes, b.qs, 32); }

void Codes(const BlockQ4_0& b, int8_t* codes) {
  for (int j = 0; j < 16; ++j) {
    codes[j] = static_cast<int8_t>((b.qs[j] & 15) - 8);
    codes[j + 16] = static_cast<int8_t>((b.qs[j] >> 4) - 8);
  }
}

void Codes(const BlockQ4_1& b, int8_t* codes) {
  for (int j = 0; j < 16; ++j) {
    codes[j] = static_cast<int8_t>(b.qs[j] & 15);
    codes[j + 16] = static_cast<int8_t>(b.qs[j] >> 4);
  }
}

/// Q5_0 and Q5_1: fifth bits in qh.
template <class Block>
void FiveBitCodes(const Block& b, int offset, int8_t* codes) {
  for (int j = 0; j < 32; ++j) {
    const int low = j < 16 ? b.qs[j] & 15 : b.qs[j - 16] >> 4;
    const int high = (b.qh[j / 8] >> (j % 8)) & 1;
    codes[j] = static_cast<int8_t>((low | high << 4) - offset);
  }
}
void Codes(const BlockQ5_0& b, int8_t* codes) { FiveBitCodes(b, 16, codes); }
void Codes(const BlockQ5_1& b, int8_t* codes) { FiveBitCodes(b, 0, codes); }

void Codes(const BlockIq4_Nl& b, int8_t* codes) {
  for (int j = 0; j < 16; ++j) {
    codes[j] = kIq4Levels[b.qs[j] & 15];
    codes[j + 16] = kIq4Levels[b.qs[j] >> 4];
  }
}

void Codes(const BlockIq4_Xs& b, int8_t* codes) {
  for (int g = 0; g < 8; ++g) {
    for (int j = 0; j < 16; ++j) {
      codes[32 * g + j] = kIq4Levels[b.qs[16 * g + j] & 15];
      codes[32 * g + j + 16] = kIq4Levels[b.qs[16 * g + j] >> 4];
    }
  }
}

void Codes(const BlockQ2_K& b, int8_t* codes) {
  for (int k = 0; k < 256; ++k)
    codes[k] = static_cast<int8_t>((b.qs[32 * (k / 128) + k % 32] >> (2 * (k / 32 % 4))) & 3);
}

void Codes(const BlockQ3_K& b, int8_t* codes) {
  for (int k = 0; k < 256; ++k) {
    const int low = (b.qs[32 * (k / 128) + k % 32] >> (2 * (k / 32 % 4))) & 3;
    const int high = (b.hmask[k % 32] >> (k / 32)) & 1;
    codes[k] = static_cast<int8_t>((low | high << 2) - 4);
  }
}

void Codes(const BlockQ4_K& b, int8_t* codes) {
  for (int k = 0; k < 256; ++k)
    codes[k] = static_cast<int8_t>((b.qs[32 * (k / 64) + k % 32] >> (4 * (k / 32 % 2))) & 15);
}

void Codes(const BlockQ5_K& b, int8_t* codes) {
  for (int k = 0; k < 256; ++k) {
    const int low = (b.qs[32 * (k / 64) + k % 32] >> (4 * (k / 32 % 2))) & 15;
    const int high = (b.qh[k % 32] >> (k / 32)) & 1;
    codes[k] = static_cast<int8_t>(low | high << 4);
  }
}

void Codes(const BlockQ6_K& b, int8_t* codes) {
  for (int k = 0; k < 256; ++k) {
    const int run = k / 32 % 4;
    const int low = (b.ql[64 * (k / 128) + 32 * (run % 2) + k % 32] >> (4 * (run / 2))) & 15;
    const int high = (b.qh[32 * (k / 128) + k % 32] >> (2 * run)) & 3;
    codes[k] = static_cast<int8_t>((low | high << 4) - 32);
  }
}

// The value of one super-block before the activations' scale.

float Value(const BlockQ2_K& b, const int8_t* codes, const ActivationBlock& x) {
  uint8_t scales[16];
  int32_t imin = 0;
  for (int g = 0; g < 16; ++g) {
    scales[g] = b.scales[g] & 15;
    imin += (b.scales[g] >> 4) * x.sum16[g];
  }
  const int32_t isum = ScaledDot(codes, scales, 16, x.q);
  return std::fmaf(-Half(b.dmin), static_cast<float>(imin), Half(b.d) * static_cast<float>(isum));
}

float Value(const BlockQ3_K& b, const int8_t* codes, const ActivationBlock& x) {
  int8_t scales[16];
  UnpackScalesQ3_K(b.scales, scales);
  return Half(b.d) * static_cast<float>(ScaledDot(codes, scales, 16, x.q));
}

/// Q4_K and Q5_K.
template <class Block>
float ValueWithMins(const Block& b, const int8_t* codes, const ActivationBlock& x) {
  uint8_t scales[8], mins[8];
  UnpackScalesQ4_K(b.scales, scales, mins);
  int32_t imin = 0;
  for (int g = 0; g < 8; ++g) imin += mins[g] * x.sum32[g];
  const int32_t isum = ScaledDot(codes, scales, 8, x.q);
  return std::fmaf(-Half(b.dmin), static_cast<float>(imin), Half(b.d) * static_cast<float>(isum));
}
float Value(const BlockQ4_K& b, const int8_t* codes, const ActivationBlock& x) {
  return ValueWithMins(b, codes, x);
}
float Value(const BlockQ5_K& b, const int8_t* codes, const ActivationBlock& x) {
  return ValueWithMins(b, codes, x);
}

float Value(const BlockQ6_K& b, const int8_t* codes, const ActivationBlock& x) {
  return Half(b.d) * static_cast<float>(ScaledDot(codes, b.scales, 16, x.q));
}

float Value(const BlockIq4_Xs& b, const int8_t* codes, const ActivationBlock& x) {
  int8_t scales[8];
  UnpackScalesIq4_Xs(b, scales);
  return Half(b.d) * static_cast<float>(ScaledDot(codes, scales, 8, x.q));
}

template <class Block>
float SuperBlockDot(const std::byte* row, const ActivationBlock* x, int64_t cols, float acc) {
  for (int64_t k = 0; k < cols; k += 256, row += sizeof(Block), ++x) {
    Block b;
    std::memcpy(&b, row, sizeof(b));
    int8_t codes[256];
    Codes(b, codes);
    acc = std::fmaf(Value(b, codes, *x), x->scale, acc);
  }
  return acc;
}

/// The offset of Q4_1 and Q5_1; the other blocks of 32 have none.
template <class Block>
float AddOffset(const Block&, int16_t, float v) {
  return v;
}
float AddOffset(const BlockQ4_1& b, int16_t sum, float v) {
  return std::fmaf(Half(b.m), static_cast<float>(sum), v);
}
float AddOffset(const BlockQ5_1& b, int16_t sum, float v) {
  return std::fmaf(Half(b.m), static_cast<float>(sum), v);
}

template <class Block>
float SmallBlockDot(const std::byte* row, const ActivationBlock* x, int64_t cols, float acc) {
  for (int64_t k = 0; k < cols; k += kActivationBlock, ++x) {
    for (int64_t j = 0; j < kActivationBlock && k + j < cols; j += 32, row += sizeof(Block)) {
      Block b;
      std::memcpy(&b, row, sizeof(b));
      int8_t codes[32];
      Codes(b, codes);
      const float v = Half(b.d) * static_cast<float>(Dot(codes, x->q + j, 32));
      acc = std::fmaf(AddOffset(b, x->sum32[j / 32], v), x->scale32[j / 32], acc);
    }
  }
  return acc;
}

}  // namespace

bool ReadsScalesPer32(Format format) { return Info(format).block_values == 32; }

IntegerDotFn FindIntegerDot(Format format) {
  switch (format) {
    case Format::kF32:
    case Format::kF16:
    case Format::kBf16:
      return nullptr;
    case Format::kQ4_0:
      return SmallBlockDot<BlockQ4_0>;
    case Format::kQ4_1:
      return SmallBlockDot<BlockQ4_1>;
    case Format::kQ5_0:
      return SmallBlockDot<BlockQ5_0>;
    case Format::kQ5_1:
      return SmallBlockDot<BlockQ5_1>;
    case Format::kQ8_0:
      return SmallBlockDot<BlockQ8_0>;
    case Format::kIq4_Nl:
      return SmallBlockDot<BlockIq4_Nl>;
    case Format::kQ2_K:
      return SuperBlockDot<BlockQ2_K>;
    case Format::kQ3_K:
      return SuperBlockDot<BlockQ3_K>;
    case Format::kQ4_K:
      return SuperBlockDot<BlockQ4_K>;
    case Format::kQ5_K:
      return SuperBlockDot<BlockQ5_K>;
    case Format::kQ6_K:
      return SuperBlockDot<BlockQ6_K>;
    case Format::kIq4_Xs:
      return SuperBlockDot<BlockIq4_Xs>;
  }
  return nullptr;
}

}  // namespace octet
