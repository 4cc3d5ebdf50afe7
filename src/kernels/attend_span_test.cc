// Every span attention kernel of the registry against the operations that kernel.h spells out, bit
// for bit, and those against attention in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <vector>

#include "base/f16.h"
#include "base/rng.h"
#include "cpu/isa.h"
#include "kernels/registry.h"
#include "quant/q8_0.h"

namespace octet {
namespace {

constexpr float kScale = 0.1f;
constexpr float kLowest = std::numeric_limits<float>::lowest();

struct Problem {
  int32_t rows, group, head_dim;
  int64_t first_position;
  int64_t window = 0;
  int32_t page_tokens = 64;
  int64_t begin = 0;  // of the span
  int32_t n_kv_heads = 2, kv_head = 1;

  int64_t queries() const { return int64_t{rows} * group; }
  int64_t keys() const { return first_position + rows; }
};

std::vector<Problem> Problems() {
  return {
      {1, 4, 128, 0},
      {1, 4, 128, 31},
      {1, 4, 64, 700},
      {1, 1, 128, 300},
      {1, 3, 64, 255, 0, 16},
      {1, 8, 128, 520, 0, 1},
      {2, 4, 192, 255, 100, 16},
      {1, 16, 64, 290, 0, 256},
      {5, 3, 256, 40, 33, 7},
      {4, 4, 128, 2047, 0, 64, 2048},
      {40, 4, 128, 0},
      {64, 4, 64, 230, 0, 16},
      {33, 1, 128, 500, 300, 64},
      {9, 2, 64, 600, 64, 3},
      {50, 5, 128, 2040, 3000, 256, 0},
      {17, 4, 64, 4100, 2100, 64, 2048},
  };
}

/// Round to nearest even; a subnormal float is 0, as the conversion instruction takes it.
float RoundBf16(float x) {
  auto bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7f800000u) == 0) return std::bit_cast<float>(bits & 0x80000000u);
  bits += 0x7fff + ((bits >> 16) & 1);
  return std::bit_cast<float>(bits & 0xffff0000u);
}

/// What a query, key, value or weight counts as.
float Factor(SpanProducts products, float x) {
  return products == SpanProducts::kFloats ? x : RoundBf16(x);
}

float Flush(float x) {
  return std::abs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x;
}

/// acc + 32 products, as SpanProducts::kTiles takes them.
float AddTileProducts(const float* a, const float* b, float acc) {
  float sum[2] = {0, 0};
  for (int i = 0; i < 32; ++i) sum[i % 2] = Flush(std::fma(a[i], b[i], sum[i % 2]));
  return Flush(acc + Flush(sum[0] + sum[1]));
}

/// acc + a[odd]·b[odd] + a[even]·b[even], as SpanProducts::kPairs takes them.
float AddPair(const float* a, const float* b, float acc) {
  return Flush(std::fma(a[0], b[0], Flush(std::fma(a[1], b[1], Flush(acc)))));
}

/// q·k, as SpanProducts::kFloats takes it.
float FloatScore(const float* q, const float* k, int32_t head_dim) {
  float sum[8] = {};
  for (int32_t d = 0; d < head_dim; ++d) sum[d % 8] = std::fma(k[d], q[d], sum[d % 8]);
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

float Score(SpanProducts products, const float* q, const float* k, int32_t head_dim) {
  if (products == SpanProducts::kFloats) return FloatScore(q, k, head_dim);
  if (products == SpanProducts::kTiles) {
    float sum = 0;
    for (int32_t d = 0; d < head_dim; d += 32) sum = AddTileProducts(k + d, q + d, sum);
    return sum;
  }
  float chain[4] = {};
  for (int32_t d = 0; d < head_dim; d += 2) {
    float& sum = chain[d / 2 % 4];
    sum = AddPair(k + d, q + d, sum);
  }
  return (chain[0] + chain[2]) + (chain[1] + chain[3]);
}

/// acc + Σ weight · value over 32 keys.
float AddValues(SpanProducts products, const float* weight, const float* value, float acc) {
  if (products == SpanProducts::kTiles) return AddTileProducts(weight, value, acc);
  if (products == SpanProducts::kFloats) {
    for (int j = 0; j < 32; ++j) acc = std::fma(weight[j], value[j], acc);
    return acc;
  }
  for (int j = 0; j < 32; j += 2) acc = AddPair(weight + j, value + j, acc);
  return acc;
}

float SumWeights(SpanProducts products, const float* weight) {
  const int n = products == SpanProducts::kTiles ? 4 : 16;
  float lane[16] = {};
  for (int64_t j = 0; j < kSpanChunk; ++j) lane[j % n] += weight[j];
  if (products == SpanProducts::kTiles) return (lane[0] + lane[1]) + (lane[2] + lane[3]);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  }
  return lane[0];
}

float Exp2(SpanProducts products, float x) {
  const float whole = std::floor(x);
  float f = x - whole;
  if (products == SpanProducts::kFloats) {
    if (x < kExp2Underflow) return 0;
  } else {
    while (static_cast<double>(f) + whole > x) f = std::nextafter(f, -1.0f);  // rounded down
  }
  float p = kExp2Poly[0];
  for (int i = 1; i < kExp2Terms; ++i) p = std::fma(p, f, kExp2Poly[i]);
  return std::ldexp(p, static_cast<int>(std::max(whole, -1000.0f)));
}

std::vector<float> RandomFloats(int64_t n, uint64_t stream) {
  std::vector<float> values(n);
  for (int64_t i = 0; i < n; ++i) values[i] = static_cast<float>(RandomNormal(13, stream, i));
  return values;
}

/// Keys or values of one head, stored in pages of [n_kv_heads, page_tokens, head_dim]; every other
/// head holds NaN, and so do positions that were never written.
struct Pages {
  Pages(const Problem& p, Format format, uint64_t stream) {
    const FormatInfo& info = Info(format);
    const int64_t row_bytes = FormatBytes(format, p.head_dim);
    const int64_t n = (p.keys() + p.page_tokens - 1) / p.page_tokens;
    const auto values = RandomFloats(p.keys() * p.head_dim, stream);
    exact.resize(values.size());
    const std::vector<float> nan(p.head_dim, NAN);
    for (int64_t page = 0; page < n; ++page) {
      bytes.emplace_back(p.n_kv_heads * p.page_tokens * row_bytes, std::byte{0xff});
    }
    for (int64_t j = 0; j < p.keys(); ++j) {
      std::byte* row = bytes[j / p.page_tokens].data() +
                       (p.kv_head * p.page_tokens + j % p.page_tokens) * row_bytes;
      info.encode(values.data() + j * p.head_dim, p.head_dim, row);
      info.decode(row, p.head_dim, exact.data() + j * p.head_dim);
      if (format != Format::kQ8_0) continue;
      for (int32_t b = 0; b < p.head_dim / 32; ++b) {
        uint16_t bits;
        std::memcpy(&bits, row + b * sizeof(BlockQ8_0) + offsetof(BlockQ8_0, d), sizeof(bits));
        scale.push_back(ToFloat(F16{bits}));
      }
    }
    for (auto& page : bytes) pointers.push_back(page.data());
  }
  std::vector<std::vector<std::byte>> bytes;
  std::vector<const std::byte*> pointers;
  std::vector<float> exact;  // [keys, head_dim]
  std::vector<float> scale;  // [keys, head_dim / 32] of q8_0
};

struct Sums {
  explicit Sums(const Problem& p) : m(p.queries()), l(p.queries()), acc(p.queries() * p.head_dim) {}
  std::vector<float> m, l, acc;
};

int64_t FirstKey(const Problem& p, int64_t position) {
  return p.window > 0 ? std::max<int64_t>(0, position - p.window + 1) : 0;
}

Sums Expected(const Problem& p, SpanProducts products, const std::vector<float>& q, const Pages& k,
              const Pages& v) {
  Sums sums(p);
  const int32_t d = p.head_dim;
  for (int64_t query = 0; query < p.queries(); ++query) {
    const int64_t position = p.first_position + query / p.group;
    const int64_t first = std::max(FirstKey(p, position), p.begin);
    const int64_t last = std::min(position + 1, p.begin + kSpanKeys);
    std::vector<float> scaled_q(d), acc(d, 0.0f);
    for (int32_t i = 0; i < d; ++i)
      scaled_q[i] = Factor(products, q[query * d + i] * (kScale * 1.44269504f));
    float m = kLowest, l = 0;
    for (int64_t base = first / kSpanChunk * kSpanChunk; base < last; base += kSpanChunk) {
      float weight[kSpanChunk] = {}, most = m;
      const auto seen = [&](int64_t j) { return base + j >= first && base + j < last; };
      for (int64_t j = 0; j < kSpanChunk; ++j) {
        if (!seen(j)) continue;
        std::vector<float> key(d);
        for (int32_t i = 0; i < d; ++i) key[i] = Factor(products, k.exact[(base + j) * d + i]);
        weight[j] = Score(products, scaled_q.data(), key.data(), d);
        most = std::max(most, weight[j]);
      }
      for (int64_t j = 0; j < kSpanChunk; ++j) {
        if (seen(j)) weight[j] = Exp2(products, weight[j] - most);
      }
      const float decay = Exp2(products, m - most);
      l = std::fma(l, decay, SumWeights(products, weight));
      m = most;
      for (int32_t i = 0; i < d; ++i) {
        acc[i] *= decay;
        for (int64_t j = 0; j < kSpanChunk; j += 32) {
          float a[32], b[32];
          for (int n = 0; n < 32; ++n) {
            a[n] = Factor(products, weight[j + n]);
            b[n] = seen(j + n) ? Factor(products, v.exact[(base + j + n) * d + i]) : 0.0f;
          }
          acc[i] = AddValues(products, a, b, acc[i]);
        }
      }
    }
    sums.m[query] = m;
    sums.l[query] = l;
    std::copy(acc.begin(), acc.end(), sums.acc.begin() + query * d);
  }
  return sums;
}

float SumLanes(const float* x, int n) {
  float lane[16] = {};
  for (int i = 0; i < n; ++i) lane[i % 16] += std::abs(x[i]);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  }
  return lane[0];
}

struct Rounded {
  std::vector<int32_t> x;
  float step;
};

/// In 16 bits of `greatest`: products with `inverse` rounded to float first, or not.
Rounded Round16(const std::vector<float>& x, float greatest, bool fused) {
  const float inverse = 32767 / greatest;
  Rounded result{{}, greatest / 32767};
  for (const float v : x) {
    const double exact = static_cast<double>(v) * inverse;
    result.x.push_back(static_cast<int32_t>(
        std::nearbyint(fused ? exact : static_cast<double>(static_cast<float>(exact)))));
  }
  return result;
}

/// Σ codes · w over n rows `stride` apart; the codes are the stored values by their scales.
float IntegerSum(const float* exact, const float* scale, int64_t stride, int64_t scale_stride,
                 int n, const int32_t* w) {
  int64_t sum = 0;
  for (int i = 0; i < n; ++i) {
    const float s = scale[i * scale_stride];
    sum += s == 0 ? 0 : w[i] * std::lround(exact[i * stride] / s);
  }
  EXPECT_LT(std::abs(sum), int64_t{1} << 31);
  return static_cast<float>(sum);
}

/// The same with SpanProducts::kIntegers.
Sums ExpectedIntegers(const Problem& p, const std::vector<float>& q, const Pages& k,
                      const Pages& v) {
  Sums sums(p);
  const int32_t d = p.head_dim, blocks = d / 32;
  for (int64_t query = 0; query < p.queries(); ++query) {
    const int64_t position = p.first_position + query / p.group;
    const int64_t first = std::max(FirstKey(p, position), p.begin);
    const int64_t last = std::min(position + 1, p.begin + kSpanKeys);
    std::vector<float> scaled(d), acc(d, 0.0f);
    float greatest = kSpanLeast;
    for (int32_t i = 0; i < d; ++i) scaled[i] = q[query * d + i] * (kScale * 1.44269504f);
    for (int32_t i = 0; i < d; i += 32)
      greatest = std::max(greatest, SumLanes(scaled.data() + i, 32));
    const Rounded q16 = Round16(scaled, greatest, false);
    float m = kLowest, l = 0;
    for (int64_t base = first / kSpanChunk * kSpanChunk; base < last; base += kSpanChunk) {
      float weight[kSpanChunk] = {}, most = m;
      const auto seen = [&](int64_t j) { return base + j >= first && base + j < last; };
      for (int64_t j = 0; j < kSpanChunk; ++j) {
        if (!seen(j)) continue;
        float s = 0;
        for (int32_t b = 0; b < blocks; ++b) {
          const float scale = k.scale[(base + j) * blocks + b];
          s = std::fma(IntegerSum(k.exact.data() + (base + j) * d + 32 * b, &scale, 1, 0, 32,
                                  q16.x.data() + 32 * b),
                       scale, s);
        }
        weight[j] = s * q16.step;
        most = std::max(most, weight[j]);
      }
      for (int64_t j = 0; j < kSpanChunk; ++j) {
        if (seen(j)) weight[j] = Exp2(SpanProducts::kIntegers, weight[j] - most);
      }
      const float decay = Exp2(SpanProducts::kIntegers, m - most);
      l = std::fma(l, decay, SumWeights(SpanProducts::kIntegers, weight));
      m = most;
      for (float& a : acc) a *= decay;
      for (int64_t part = 0; part < kSpanChunk; part += kSpanIntegerKeys) {
        for (int32_t b = 0; b < blocks; ++b) {
          std::vector<float> scale(kSpanIntegerKeys), w(kSpanIntegerKeys);
          std::vector<float> values(kSpanIntegerKeys * 32);
          for (int64_t j = 0; j < kSpanIntegerKeys; ++j) {
            if (!seen(part + j)) continue;
            const int64_t key = base + part + j;
            scale[j] = v.scale[key * blocks + b];
            w[j] = weight[part + j] * scale[j];
            std::copy_n(v.exact.begin() + key * d + 32 * b, 32, values.begin() + j * 32);
          }
          const float top = std::max(kSpanLeast, *std::max_element(w.begin(), w.end()));
          const Rounded w16 = Round16(w, top, true);
          for (int i = 0; i < 32; ++i) {
            float& a = acc[32 * b + i];
            a = std::fma(
                IntegerSum(&values[i], scale.data(), 32, 1, kSpanIntegerKeys, w16.x.data()),
                w16.step, a);
          }
        }
      }
    }
    sums.m[query] = m;
    sums.l[query] = l;
    std::copy(acc.begin(), acc.end(), sums.acc.begin() + query * d);
  }
  return sums;
}

constexpr int64_t kCanaries = 16;
constexpr float kCanary = 123.5f;

/// Rows [row, row + rows) of the problem.
Sums RunKernel(const KernelDescriptor& kernel, Problem p, int32_t row, int32_t rows,
               const std::vector<float>& q, const Pages& k, const Pages& v) {
  const int64_t row_bytes = FormatBytes(kernel.format, p.head_dim);
  const int32_t d = p.head_dim;
  p.rows = rows;
  Sums sums(p);
  for (std::vector<float>* x : {&sums.m, &sums.l, &sums.acc})
    x->resize(x->size() + kCanaries, kCanary);
  std::vector<float> scratch(kernel.scratch_floats + 16, NAN);
  auto address = reinterpret_cast<uintptr_t>(scratch.data());
  auto* aligned = reinterpret_cast<float*>((address + 63) / 64 * 64);
  kernel.attend_span({.q = q.data() + static_cast<int64_t>(row) * p.group * d,
                      .q_stride = static_cast<int64_t>(p.group) * d,
                      .rows = rows,
                      .group = p.group,
                      .head_dim = d,
                      .scale = kScale,
                      .first_position = p.first_position + row,
                      .window = p.window,
                      .k_pages = k.pointers.data(),
                      .v_pages = v.pointers.data(),
                      .page_tokens = p.page_tokens,
                      .head_offset = p.kv_head * p.page_tokens * row_bytes,
                      .row_bytes = row_bytes,
                      .begin = p.begin,
                      .end = p.begin + kSpanKeys,
                      .continues = false,
                      .m = sums.m.data(),
                      .l = sums.l.data(),
                      .acc = sums.acc.data(),
                      .scratch = aligned});
  for (std::vector<float>* x : {&sums.m, &sums.l, &sums.acc}) {
    for (int64_t i = 0; i < kCanaries; ++i) {
      EXPECT_EQ(x->back(), kCanary);
      x->pop_back();
    }
  }
  return sums;
}

void ExpectSameBits(const float* got, const float* want, int64_t n, const char* what) {
  for (int64_t i = 0; i < n; ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i]))
        << what << " " << i << ": " << got[i] << ", expected " << want[i];
  }
}

class AttendSpan : public ::testing::TestWithParam<const KernelDescriptor*> {
 protected:
  void SetUp() override {
    if ((GetParam()->isa & ~DetectIsa()) != 0)
      GTEST_SKIP() << "this machine lacks " << IsaNames(GetParam()->isa);
  }
};

std::string Describe(const Problem& p) {
  return ::testing::PrintToString(p.rows) + " rows of " + ::testing::PrintToString(p.group) +
         " heads of " + ::testing::PrintToString(p.head_dim) + " at " +
         ::testing::PrintToString(p.first_position) + ", window " +
         ::testing::PrintToString(p.window) + ", pages of " +
         ::testing::PrintToString(p.page_tokens) + ", span at " + ::testing::PrintToString(p.begin);
}

TEST_P(AttendSpan, EqualsTheOperationsOfTheContractBitForBit) {
  for (const Problem& p : Problems()) {
    SCOPED_TRACE(Describe(p));
    const Pages k(p, GetParam()->format, 1), v(p, GetParam()->format, 2);
    const auto q = RandomFloats(p.queries() * p.head_dim, 3);
    const Sums got = RunKernel(*GetParam(), p, 0, p.rows, q, k, v);
    const SpanProducts products = GetParam()->span_products;
    const Sums want = products == SpanProducts::kIntegers ? ExpectedIntegers(p, q, k, v)
                                                          : Expected(p, products, q, k, v);
    ExpectSameBits(got.m.data(), want.m.data(), p.queries(), "m");
    ExpectSameBits(got.l.data(), want.l.data(), p.queries(), "l");
    ExpectSameBits(got.acc.data(), want.acc.data(), p.queries() * p.head_dim, "acc");
  }
}

TEST_P(AttendSpan, GivesARowTheSameBitsAloneAndAmongOthers) {
  for (const Problem& p : Problems()) {
    if (p.rows == 1) continue;
    SCOPED_TRACE(Describe(p));
    const Pages k(p, GetParam()->format, 1), v(p, GetParam()->format, 2);
    const auto q = RandomFloats(p.queries() * p.head_dim, 3);
    const Sums all = RunKernel(*GetParam(), p, 0, p.rows, q, k, v);
    for (const int32_t row : {0, p.rows / 2, p.rows - 1}) {
      const Sums one = RunKernel(*GetParam(), p, row, 1, q, k, v);
      ExpectSameBits(one.m.data(), all.m.data() + row * p.group, p.group, "m");
      ExpectSameBits(one.l.data(), all.l.data() + row * p.group, p.group, "l");
      const int64_t n = static_cast<int64_t>(p.group) * p.head_dim;
      ExpectSameBits(one.acc.data(), all.acc.data() + row * n, n, "acc");
    }
  }
}

TEST_P(AttendSpan, IsAttentionInDoubleAsFarAsItsFactorsGo) {
  for (const Problem& p : Problems()) {
    if (p.first_position + p.rows > kSpanKeys) continue;  // spans are merged elsewhere
    SCOPED_TRACE(Describe(p));
    const Pages k(p, GetParam()->format, 1), v(p, GetParam()->format, 2);
    const auto q = RandomFloats(p.queries() * p.head_dim, 3);
    const Sums got = RunKernel(*GetParam(), p, 0, p.rows, q, k, v);
    double error = 0, bound = 0;
    for (int64_t query = 0; query < p.queries(); ++query) {
      const int64_t position = p.first_position + query / p.group, d = p.head_dim;
      std::vector<double> weight(position + 1, 0.0);
      double total = 0, squares = 0;
      for (int64_t j = FirstKey(p, position); j <= position; ++j) {
        double s = 0, terms = 0;
        for (int64_t i = 0; i < d; ++i) {
          const double term = kScale * static_cast<double>(q[query * d + i]) * k.exact[j * d + i];
          s += term;
          terms += term * term;
        }
        weight[j] = std::exp(s);
        total += weight[j];
        squares = std::max(squares, terms);
      }
      // Each factor is rounded by at most 2^-9 of itself, independently: a score moves by about
      // 2^-9 of the norm of its terms, twice (query and key), a weight and a value by 2^-9 each.
      // With exact factors it is their sums, and Exp2.
      const double unit = GetParam()->span_products == SpanProducts::kFloats ? 0x1p-19 : 0x1p-9;
      const double step = unit * (2 * std::sqrt(squares) + 2);
      for (int64_t i = 0; i < d; ++i) {
        double want = 0, magnitude = 0;
        for (int64_t j = FirstKey(p, position); j <= position; ++j) {
          const double term = weight[j] / total * v.exact[j * d + i];
          want += term;
          magnitude += std::abs(term);
        }
        error += std::pow(got.acc[query * d + i] / got.l[query] - want, 2);
        bound += std::pow(step * magnitude, 2);
      }
    }
    EXPECT_LT(std::sqrt(error), std::sqrt(bound));
  }
}

TEST_P(AttendSpan, MergesSpansLikeOne) {
  // Two queries with known sums; the second part has the larger maximum for one, the smaller for
  // the other, and nothing at all for the third.
  const float part_m[] = {3, -2, kLowest}, part_l[] = {2, 5, 0};
  float m[] = {1, 2, -7}, l[] = {4, 3, 1.5f};
  std::vector<float> acc(3 * 64, 1.0f);
  const std::vector<float> part_acc(3 * 64, 2.0f);
  std::vector<float> zeros(part_acc);
  std::fill(zeros.begin() + 128, zeros.end(), 0.0f);
  GetParam()->merge_span({m, l, acc.data(), part_m, part_l, zeros.data(), 3, 64});
  EXPECT_EQ(std::vector<float>(m, m + 3), (std::vector<float>{3, 2, -7}));
  EXPECT_EQ(std::vector<float>(l, l + 3), (std::vector<float>{4 / 4.0f + 2, 3 + 5 / 16.0f, 1.5f}));
  EXPECT_EQ(acc[0], 1 / 4.0f + 2);
  EXPECT_EQ(acc[64 + 63], 1 + 2 / 16.0f);
  EXPECT_EQ(acc[128], 1.0f);
}

std::vector<const KernelDescriptor*> Kernels() {
  std::vector<const KernelDescriptor*> kernels;
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op == KernelOp::kAttendSpan) kernels.push_back(kernel);
  }
  return kernels;
}

std::string TestName(const ::testing::TestParamInfo<const KernelDescriptor*>& info) {
  std::string name = info.param->name;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(AttendSpan);
INSTANTIATE_TEST_SUITE_P(Registry, AttendSpan, ::testing::ValuesIn(Kernels()), TestName);

}  // namespace
}  // namespace octet
