// Every kernel of training's scores against the reference, bit for bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/buffer.h"
#include "base/rng.h"
#include "cpu/isa.h"
#include "kernels/registry.h"

namespace octet {
namespace {

constexpr int64_t kStride = kScoreSide;

std::vector<const KernelDescriptor*> KernelsOf(KernelOp op) {
  std::vector<const KernelDescriptor*> kernels;
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op == op && (kernel->isa & ~DetectIsa()) == 0) kernels.push_back(kernel);
  }
  return kernels;
}

std::vector<float> Random(int64_t n, uint64_t stream, double scale = 1) {
  std::vector<float> x(n);
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(scale * RandomNormal(17, stream, i));
  return x;
}

Buffer Tiles(int64_t values) {
  Buffer tiles = *Buffer::Allocate(values * sizeof(uint16_t), "test");
  std::memset(tiles.data(), 0x5a, tiles.size());
  return tiles;
}
void Append(const Buffer& tiles, std::vector<float>& out) {
  for (size_t i = 0; i < tiles.size() / 2; ++i) out.push_back(tiles.as<const uint16_t>()[i]);
}

std::vector<float> Softmax(const KernelDescriptor& kernel, const ScoreBlock& b) {
  const std::vector<float> s = Random((b.keys + 1) * kStride, 1, 10);
  const int64_t tiles = (b.keys + kTileDepth - 1) / kTileDepth + 1;
  const Buffer pairs = Tiles(kScoreSide / kTileOutputs * tiles * kTileValues);
  std::vector<float> out(2 * kScoreSide, 77.0f);
  kernel.score_softmax({b, s.data(), kStride, const_cast<uint16_t*>(pairs.as<const uint16_t>()),
                        tiles, out.data(), out.data() + kScoreSide});
  Append(pairs, out);
  return out;
}

/// The first of the values that differ.
void ExpectSame(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], want[i]) << "value " << i;
}

TEST(ScoreSoftmaxKernels, EqualTheReferenceBitForBit) {
  const KernelDescriptor& reference = *SelectKernels(0).score_softmax;
  for (const KernelDescriptor* kernel : KernelsOf(KernelOp::kScoreSoftmax)) {
    for (const ScoreBlock& b :
         {ScoreBlock{1, 1, 0, 0, 0}, ScoreBlock{33, 33, 0, 0, 0}, ScoreBlock{300, 44, 0, 256, 0},
          ScoreBlock{128, 128, 0, 0, 20}, ScoreBlock{150, 118, 96, 128, 50}}) {
      SCOPED_TRACE(::testing::Message() << kernel->name << " keys " << b.keys);
      ExpectSame(Softmax(*kernel, b), Softmax(reference, b));
    }
  }
}

std::vector<float> Grad(const KernelDescriptor& kernel, const ScoreBlock& b) {
  const std::vector<float> s = Random(kScoreSide * kStride, 2, 5);
  const std::vector<float> d_p = Random(kScoreSide * kStride, 3), delta = Random(kScoreSide, 4);
  std::vector<float> log_sum = Random(kScoreSide, 5), out;
  for (float& x : log_sum) x += 15;
  Buffer p = Tiles(kScoreSide * kScoreSide), d_s = Tiles(kScoreSide * kScoreSide);
  Buffer d_s_pairs = Tiles(kScoreSide * kScoreSide);
  kernel.score_grad({b, s.data(), d_p.data(), kStride, log_sum.data(), delta.data(),
                     p.as<uint16_t>(), d_s.as<uint16_t>(), d_s_pairs.as<uint16_t>()});
  for (const Buffer* tiles : {&p, &d_s, &d_s_pairs}) Append(*tiles, out);
  return out;
}

TEST(ScoreGradKernels, EqualTheReferenceBitForBit) {
  const KernelDescriptor& reference = *SelectKernels(0).score_grad;
  for (const KernelDescriptor* kernel : KernelsOf(KernelOp::kScoreGrad)) {
    for (const ScoreBlock& b : {ScoreBlock{1, 1, 0, 0, 0}, ScoreBlock{33, 33, 128, 128, 0},
                                ScoreBlock{128, 44, 0, 256, 0}, ScoreBlock{128, 128, 128, 128, 20},
                                ScoreBlock{128, 128, 0, 128, 50}}) {
      SCOPED_TRACE(::testing::Message() << kernel->name << " keys " << b.keys);
      ExpectSame(Grad(*kernel, b), Grad(reference, b));
    }
  }
}

std::vector<float> Turned(const KernelDescriptor& kernel, int64_t rows, int64_t cols) {
  const std::vector<float> in = Random(rows * (cols + 2), 6), scale = Random(cols, 7);
  std::vector<float> out(cols * (rows + 3), 77.0f);
  kernel.turn({in.data(), cols + 2, rows, cols, scale.data(), out.data(), rows + 3});
  return out;
}

TEST(TurnKernels, EqualTheReferenceBitForBit) {
  const KernelDescriptor& reference = *SelectKernels(0).turn;
  for (const KernelDescriptor* kernel : KernelsOf(KernelOp::kTurn)) {
    for (const int64_t rows : {1, 16, 33, 64}) {
      for (const int64_t cols : {1, 16, 40})
        EXPECT_EQ(Turned(*kernel, rows, cols), Turned(reference, rows, cols)) << kernel->name;
    }
  }
}

}  // namespace
}  // namespace octet
