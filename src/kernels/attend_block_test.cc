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

struct Inputs {
  explicit Inputs(const Problem& p)
      : q_stride(p.head_dim + 2),
        kv_stride(p.head_dim + 3),
        q(RandomFloats(p.heads * q_stride, 1, p.scale / std::sqrt(p.head_dim))),
        k(RandomFloats(p.end * kv_stride, 2, 1)),
        v(RandomFloats(p.end * kv_stride, 3, 1)) {}
  int64_t q_stride, kv_stride;
  std::vector<float> q, k, v;
};

State RunKernel(const KernelDescriptor& kernel, const Problem& p) {
  const Inputs in(p);
  State state{std::vector<float>(p.heads, -std::numeric_limits<float>::infinity()),
              std::vector<float>(p.heads, 0.0f), std::vector<float>(p.heads * p.head_dim, 0.0f)};
  for (int32_t block = p.first / kKeyBlock * kKeyBlock; block < p.end; block += kKeyBlock) {
    kernel.attend_block({.q = in.q.data(),
                         .q_stride = in.q_stride,
                         .k = in.k.data() + block * in.kv_stride,
                         .v = in.v.data() + block * in.kv_stride,
                         .kv_stride = in.kv_stride,
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

const KernelDescriptor& Reference() { return *SelectKernels(0).attend_block; }

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
    const State got = RunKernel(kernel, p), want = RunKernel(Reference(), p);
    ExpectSameBits(got.m, want.m);
    ExpectSameBits(got.l, want.l);
    ExpectSameBits(got.acc, want.acc);
  }
}

TEST_P(AttendBlock, PassesOnNotANumber) {
  const KernelDescriptor& kernel = *GetParam();
  if ((kernel.isa & ~DetectIsa()) != 0)
    GTEST_SKIP() << "this machine lacks " << IsaNames(kernel.isa);
  const std::vector<float> q = {NAN}, k = {1, 2}, v = {1, 2};
  float m = -std::numeric_limits<float>::infinity(), l = 0, acc = 0;
  kernel.attend_block({.q = q.data(),
                       .q_stride = 1,
                       .k = k.data(),
                       .v = v.data(),
                       .kv_stride = 1,
                       .begin = 0,
                       .end = 2,
                       .heads = 1,
                       .head_dim = 1,
                       .m = &m,
                       .l = &l,
                       .acc = &acc});
  EXPECT_TRUE(std::isnan(acc / l));
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
    const Inputs in(p);
    const State state = RunKernel(Reference(), p);
    for (int32_t h = 0; h < p.heads; ++h) {
      std::vector<double> score(p.end);
      double max = -INFINITY, total = 0, largest = 0;
      for (int32_t j = p.first; j < p.end; ++j) {
        for (int32_t d = 0; d < p.head_dim; ++d) {
          score[j] += static_cast<double>(in.q[h * in.q_stride + d]) * in.k[j * in.kv_stride + d];
        }
        max = std::max(max, score[j]);
        largest = std::max(largest, std::abs(score[j]));
      }
      for (int32_t j = p.first; j < p.end; ++j) total += std::exp(score[j] - max);
      for (int32_t d = 0; d < p.head_dim; ++d) {
        double want = 0, magnitude = 0;
        for (int32_t j = p.first; j < p.end; ++j) {
          const double term = std::exp(score[j] - max) / total * in.v[j * in.kv_stride + d];
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
                              .k = k,
                              .v = v,
                              .kv_stride = 1,
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
