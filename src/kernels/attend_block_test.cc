// Every block attention kernel of the registry against the reference, bit for bit, and the
// reference against attention in double.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"
#include "kernels/registry.h"

namespace octet {
namespace {

struct Problem {
  int32_t heads, head_dim;
  int32_t first, end;  // keys seen in all: [first, end), walked in blocks of kKeyBlock
  double scale = 1;    // of the scores
};

struct State {
  std::vector<float> m, l, acc;
};

std::vector<float> RandomFloats(int64_t n, uint64_t stream, double scale) {
  std::vector<float> values(n);
  for (int64_t i = 0; i < n; ++i)
    values[i] = static_cast<float>(RandomNormal(11, stream, i) * scale);
  return values;
}

/// Keys and values in a format, and the floats that they mean.
struct Rows {
  Rows(Format format, int32_t n, int32_t head_dim, uint64_t stream) {
    const FormatInfo& info = Info(format);
    row_bytes = FormatBytes(format, head_dim) + kPadding;
    bytes.resize(static_cast<size_t>(n * row_bytes + kReadAhead));
    const std::vector<float> values = RandomFloats(static_cast<int64_t>(n) * head_dim, stream, 1);
    exact.resize(values.size());
    for (int32_t j = 0; j < n; ++j) {
      std::byte* row = bytes.data() + j * row_bytes;
      info.encode(values.data() + static_cast<int64_t>(j) * head_dim, head_dim, row);
      info.decode(row, head_dim, exact.data() + static_cast<int64_t>(j) * head_dim);
    }
  }
  static constexpr int64_t kPadding = 8, kReadAhead = 64;
  int64_t row_bytes;
  std::vector<std::byte> bytes;
  std::vector<float> exact;  // [n, head_dim]
};

struct Inputs {
  Inputs(const Problem& p, Format format)
      : q_stride(p.head_dim + 2),
        q(RandomFloats(p.heads * q_stride, 1, p.scale / std::sqrt(p.head_dim))),
        k(format, p.end, p.head_dim, 2),
        v(format, p.end, p.head_dim, 3) {}
  int64_t q_stride;
  std::vector<float> q;
  Rows k, v;
};

/// `as_floats`: feeds the exact values of the format as F32 rows.
State RunKernel(const KernelDescriptor& kernel, const Problem& p, Format format, bool as_floats) {
  const Inputs in(p, format);
  const auto* k =
      as_floats ? reinterpret_cast<const std::byte*>(in.k.exact.data()) : in.k.bytes.data();
  const auto* v =
      as_floats ? reinterpret_cast<const std::byte*>(in.v.exact.data()) : in.v.bytes.data();
  const int64_t row_bytes =
      as_floats ? p.head_dim * static_cast<int64_t>(sizeof(float)) : in.k.row_bytes;
  State state{std::vector<float>(p.heads, -std::numeric_limits<float>::infinity()),
              std::vector<float>(p.heads, 0.0f), std::vector<float>(p.heads * p.head_dim, 0.0f)};
  for (int32_t block = p.first / kKeyBlock * kKeyBlock; block < p.end; block += kKeyBlock) {
    kernel.attend_block({.q = in.q.data(),
                         .q_stride = in.q_stride,
                         .k = k + block * row_bytes,
                         .v = v + block * row_bytes,
                         .kv_row_bytes = row_bytes,
                         .begin = std::max(p.first - block, 0),
                         .end = std::min(p.end - block, kKeyBlock),
                         .heads = p.heads,
                         .head_dim = p.head_dim,
                         .m = state.m.data(),
                         .l = state.l.data(),
                         .acc = state.acc.data()});
  }
  return state;
}

const KernelDescriptor& Reference() { return *SelectKernels(0).attend_block[0]; }

void ExpectSameBits(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i]))
        << "element " << i << ": " << got[i] << ", reference " << want[i];
  }
}

const std::vector<Problem> kProblems = {
    {1, 8, 0, 1},      {2, 12, 0, 5},         {3, 1, 0, 64},        {4, 64, 0, 130},
    {8, 128, 0, 65},   {5, 80, 3, 64},        {4, 128, 70, 200},    {1, 17, 63, 65},
    {6, 100, 64, 128}, {2, 40, 0, 128, 60.0}, {4, 16, 127, 128, 0},
};

class AttendBlock : public ::testing::TestWithParam<const KernelDescriptor*> {};

TEST_P(AttendBlock, EqualsTheReferenceBitForBit) {
  const KernelDescriptor& kernel = *GetParam();
  if ((kernel.isa & ~DetectIsa()) != 0)
    GTEST_SKIP() << "this machine lacks " << IsaNames(kernel.isa);
  for (const Problem& p : kProblems) {
    SCOPED_TRACE(::testing::Message() << p.heads << " heads of " << p.head_dim << ", keys ["
                                      << p.first << ", " << p.end << ")");
    if (p.head_dim % Info(kernel.format).block_values != 0) continue;
    const State got = RunKernel(kernel, p, kernel.format, false);
    const State want = RunKernel(Reference(), p, kernel.format, true);
    ExpectSameBits(got.m, want.m);
    ExpectSameBits(got.l, want.l);
    ExpectSameBits(got.acc, want.acc);
  }
}

TEST_P(AttendBlock, PassesOnNotANumber) {
  const KernelDescriptor& kernel = *GetParam();
  if ((kernel.isa & ~DetectIsa()) != 0)
    GTEST_SKIP() << "this machine lacks " << IsaNames(kernel.isa);
  // Zeros of 32 values in any format: the query's NaN alone must show.
  const std::vector<float> q(32, NAN);
  const std::vector<std::byte> zeros(2 * 32 * sizeof(float));
  float m = -std::numeric_limits<float>::infinity(), l = 0;
  std::vector<float> acc(32);
  kernel.attend_block({.q = q.data(),
                       .q_stride = 32,
                       .k = zeros.data(),
                       .v = zeros.data(),
                       .kv_row_bytes = FormatBytes(kernel.format, 32),
                       .begin = 0,
                       .end = 2,
                       .heads = 1,
                       .head_dim = 32,
                       .m = &m,
                       .l = &l,
                       .acc = acc.data()});
  EXPECT_TRUE(std::isnan(acc[0] / l));
}

std::vector<const KernelDescriptor*> Kernels() {
  std::vector<const KernelDescriptor*> kernels;
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op == KernelOp::kAttendBlock) kernels.push_back(kernel);
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

INSTANTIATE_TEST_SUITE_P(Registry, AttendBlock, ::testing::ValuesIn(Kernels()), TestName);

TEST(AttendBlockReference, IsAttentionInDouble) {
  for (const Problem& p : kProblems) {
    const Inputs in(p, Format::kF32);
    const State state = RunKernel(Reference(), p, Format::kF32, false);
    for (int32_t h = 0; h < p.heads; ++h) {
      std::vector<double> score(p.end);
      double max = -INFINITY, total = 0, largest = 0;
      for (int32_t j = p.first; j < p.end; ++j) {
        for (int32_t d = 0; d < p.head_dim; ++d) {
          score[j] +=
              static_cast<double>(in.q[h * in.q_stride + d]) * in.k.exact[j * p.head_dim + d];
        }
        max = std::max(max, score[j]);
        largest = std::max(largest, std::abs(score[j]));
      }
      for (int32_t j = p.first; j < p.end; ++j) total += std::exp(score[j] - max);
      for (int32_t d = 0; d < p.head_dim; ++d) {
        double want = 0, magnitude = 0;
        for (int32_t j = p.first; j < p.end; ++j) {
          const double term = std::exp(score[j] - max) / total * in.v.exact[j * p.head_dim + d];
          want += term;
          magnitude += std::abs(term);
        }
        // A weight's relative error is its score's absolute one (about 2^-24 of the largest sum,
        // times the roundings of a dot product) plus that of a few roundings; so is each term's.
        const double bound = (16 * largest + 32) * 0x1p-24 * magnitude;
        EXPECT_NEAR(state.acc[h * p.head_dim + d] / state.l[h], want, bound)
            << p.heads << " heads of " << p.head_dim << ", head " << h << ", dim " << d;
      }
    }
  }
}

TEST(AttendBlockReference, ExpIsWithinOneUlp) {
  // One head of one dim, two keys: l = Exp(0) + Exp(x) on the first, so Exp(x) shows in acc when
  // only the second key has a value.
  double worst = 0;
  for (int i = 0; i < 20000; ++i) {
    const float x = -87.5f * static_cast<float>(i) / 20000.0f;
    const float q = 1, k[2] = {0, x}, v[2] = {0, 1};
    float m = -std::numeric_limits<float>::infinity(), l = 0, acc = 0;
    Reference().attend_block({.q = &q,
                              .q_stride = 1,
                              .k = reinterpret_cast<const std::byte*>(k),
                              .v = reinterpret_cast<const std::byte*>(v),
                              .kv_row_bytes = sizeof(float),
                              .begin = 0,
                              .end = 2,
                              .heads = 1,
                              .head_dim = 1,
                              .m = &m,
                              .l = &l,
                              .acc = &acc});
    const double want = x < kExpUnderflow ? 0.0 : std::exp(static_cast<double>(x));
    const double ulp = std::nextafter(static_cast<float>(want), 2.0f) - static_cast<float>(want);
    worst = std::max(worst, std::abs(acc - want) / ulp);
  }
  EXPECT_LE(worst, 1.0);
}

}  // namespace
}  // namespace octet
