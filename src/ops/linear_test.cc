#include "ops/linear.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"

namespace octet {
namespace {

std::vector<float> RandomFloats(int64_t n, uint64_t stream) {
  std::vector<float> values(n);
  for (int64_t i = 0; i < n; ++i) values[i] = static_cast<float>(RandomNormal(5, stream, i));
  return values;
}

/// A matrix and the bytes it points into.
struct Owned {
  Owned(Format format, int64_t rows, int64_t cols, uint64_t stream) {
    bytes.resize(rows * FormatBytes(format, cols));
    if (Info(format).encode != nullptr) {
      const std::vector<float> values = RandomFloats(rows * cols, stream);
      Info(format).encode(values.data(), rows * cols, bytes.data());
    } else {  // any bytes are a block; without bit 6 no 16-bit scale is infinite
      for (size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::byte>(RandomBits(9, stream, i) & 0xbf);
      }
    }
    matrix = {.format = format, .rows = rows, .cols = cols, .data = bytes.data()};
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  std::vector<std::byte> bytes;
  WeightMatrix matrix;
};

struct Run {
  uint32_t isa;
  int threads;
  Arithmetic arithmetic = Arithmetic::kFloat32;
};

/// y [tokens, rows] of one product.
std::vector<float> Product(const WeightMatrix& w, const std::vector<float>& x, int64_t tokens,
                           const Run& run) {
  ThreadPool pool(run.threads);
  const KernelTable kernels = SelectKernels(run.isa);
  Arena scratch;
  Context context{pool, kernels, scratch, run.arithmetic};
  std::vector<float> y(tokens * w.rows);
  Linear(w, MakeView(x.data(), tokens, w.cols), MakeView(y.data(), tokens, w.rows), context);
  return y;
}

void ExpectSameBits(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  EXPECT_TRUE(got.empty() || std::memcmp(got.data(), want.data(), got.size() * sizeof(float)) == 0);
}

TEST(Linear, GivesTheReferencesBitsForEveryFormatTokensAndThreads) {
  for (int f = 0; f < kFormatCount; ++f) {
    const Owned w(static_cast<Format>(f), 19, 512, f);
    for (const int64_t tokens : {0, 1, 3, 17}) {
      const std::vector<float> x = RandomFloats(tokens * 512, 77);
      const std::vector<float> want = Product(w.matrix, x, tokens, {0, 1});
      for (const int threads : {1, 2, 5}) {
        SCOPED_TRACE(::testing::Message() << Info(w.matrix.format).name << ", " << tokens
                                          << " tokens, " << threads << " threads");
        ExpectSameBits(Product(w.matrix, x, tokens, {DetectIsa(), threads}), want);
      }
    }
  }
}

TEST(Linear, GivesARowTheSameBitsAloneAndAmongOthers) {
  for (const Arithmetic arithmetic : {Arithmetic::kFloat32, Arithmetic::kFast}) {
    for (int f = 0; f < kFormatCount; ++f) {
      // Enough rows for several tiles and enough tokens for two token tiles.
      const Owned w(static_cast<Format>(f), 700, 256, f);
      const int64_t tokens = 300;
      const std::vector<float> x = RandomFloats(tokens * 256, 78);
      const std::vector<float> all = Product(w.matrix, x, tokens, {DetectIsa(), 2, arithmetic});
      for (const int64_t t : {int64_t{0}, int64_t{131}, tokens - 1}) {
        const std::vector<float> one_x(x.begin() + t * 256, x.begin() + (t + 1) * 256);
        const std::vector<float> row(all.begin() + t * 700, all.begin() + (t + 1) * 700);
        SCOPED_TRACE(::testing::Message() << Info(w.matrix.format).name << ", token " << t);
        ExpectSameBits(Product(w.matrix, one_x, 1, {DetectIsa(), 1, arithmetic}), row);
      }
    }
  }
}

TEST(Linear, RunsTasksOfDifferentShapesTogether) {
  const std::array<Owned, 4> w = {Owned(Format::kF32, 33, 64, 1), Owned(Format::kBf16, 900, 320, 2),
                                  Owned(Format::kF16, 1, 48, 3), Owned(Format::kF32, 40, 64, 4)};
  const std::vector<int64_t> tokens = {3, 2, 5, 0};
  std::vector<std::vector<float>> x(w.size()), y(w.size());
  std::vector<LinearTask> tasks;
  for (size_t i = 0; i < w.size(); ++i) {
    const WeightMatrix& m = w[i].matrix;
    x[i] = RandomFloats(tokens[i] * m.cols, 20 + i);
    y[i].assign(tokens[i] * m.rows, -1.0f);
    const View<float, 2> y_view = MakeView(y[i].data(), tokens[i], m.rows);
    tasks.push_back({&m, MakeView<const float>(x[i].data(), tokens[i], m.cols), y_view});
  }
  ThreadPool pool(3);
  const KernelTable kernels = SelectKernels(DetectIsa());
  Arena scratch;
  Context context{pool, kernels, scratch, Arithmetic::kFloat32};
  Linear(tasks, context);
  for (size_t i = 0; i < w.size(); ++i) {
    SCOPED_TRACE(i);
    ExpectSameBits(y[i], Product(w[i].matrix, x[i], tokens[i], {0, 1}));
  }
}

TEST(Linear, ReadsAndWritesStridedViews) {
  const Owned w(Format::kF32, 6, 20, 1);
  const std::vector<float> x = RandomFloats(4 * 31, 30);
  std::vector<float> y(4 * 11, 5.0f);
  ThreadPool pool(1);
  const KernelTable kernels = SelectKernels(DetectIsa());
  Arena scratch;
  Context context{pool, kernels, scratch, Arithmetic::kFloat32};
  const View<const float, 2> x_view{x.data(), {4, 20}, {31, 1}};
  const View<float, 2> y_view{y.data(), {4, 6}, {11, 1}};
  Linear(w.matrix, x_view, y_view, context);
  for (int64_t t = 0; t < 4; ++t) {
    const std::vector<float> dense(x.begin() + t * 31, x.begin() + t * 31 + 20);
    const std::vector<float> want = Product(w.matrix, dense, 1, {0, 1});
    for (int64_t r = 0; r < 11; ++r) EXPECT_EQ(y[t * 11 + r], r < 6 ? want[r] : 5.0f);
  }
}

TEST(Linear, AllocatesNothingOnceWarm) {
  const Owned w(Format::kF32, 64, 64, 1);
  const std::vector<float> x = RandomFloats(8 * 64, 30);
  std::vector<float> y(8 * 64);
  ThreadPool pool(2);
  const KernelTable kernels = SelectKernels(DetectIsa());
  Arena scratch;
  Context context{pool, kernels, scratch, Arithmetic::kFloat32};
  const auto run = [&] {
    Linear(w.matrix, MakeView<const float>(x.data(), 8, 64), MakeView(y.data(), 8, 64), context);
  };
  run();
  const size_t warm = scratch.capacity_bytes();
  for (int i = 0; i < 50; ++i) run();
  EXPECT_EQ(scratch.capacity_bytes(), warm);
}

}  // namespace
}  // namespace octet
