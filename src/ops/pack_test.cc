#include "ops/pack.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/buffer.h"
#include "base/rng.h"
#include "cpu/isa.h"
#include "ops/linear.h"
#include "quant/integer_dot.h"

namespace octet {
namespace {

std::vector<float> RandomFloats(int64_t n, uint64_t stream) {
  std::vector<float> values(n);
  for (int64_t i = 0; i < n; ++i) values[i] = static_cast<float>(RandomNormal(5, stream, i));
  return values;
}

/// A random row-major matrix and its bytes.
struct Owned {
  Owned(Format format, int64_t rows, int64_t cols) : bytes(rows * FormatBytes(format, cols)) {
    const std::vector<float> values = RandomFloats(rows * cols, static_cast<uint64_t>(format));
    Info(format).encode(values.data(), rows * cols, bytes.data());
    matrix = {.format = format, .rows = rows, .cols = cols, .data = bytes.data()};
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  std::vector<std::byte> bytes;
  WeightMatrix matrix;
};

std::vector<float> Product(const WeightMatrix& w, const std::vector<float>& x, uint32_t isa,
                           ThreadPool& pool) {
  const KernelTable kernels = SelectKernels(isa);
  Arena scratch;
  Context context{pool, kernels, scratch, Arithmetic::kFast};
  const int64_t tokens = static_cast<int64_t>(x.size()) / w.cols;
  std::vector<float> y(tokens * w.rows);
  Linear(w, MakeView(x.data(), tokens, w.cols), MakeView(y.data(), tokens, w.rows), context);
  return y;
}

TEST(Pack, LeavesEveryProductItsBits) {
  ThreadPool pool(3);
  for (int f = 0; f < kFormatCount; ++f) {
    const auto format = static_cast<Format>(f);
    const Layout layout = BestLayout(SelectKernels(DetectIsa()), format);
    const Owned w(format, 150, 512);  // nine panels and a part of one: two tasks
    Buffer packed = *Buffer::Allocate(PackedBytes({w.matrix, layout}), "test");
    const WeightMatrix matrix = Pack({w.matrix, layout}, packed.data(), pool);
    EXPECT_EQ(matrix.layout, layout);
    for (const int64_t tokens : {1, 5, 40}) {
      SCOPED_TRACE(::testing::Message() << Info(format).name << ", " << tokens << " tokens");
      const std::vector<float> x = RandomFloats(tokens * 512, 3);
      const std::vector<float> got = Product(matrix, x, DetectIsa(), pool);
      EXPECT_EQ(got, Product(w.matrix, x, DetectIsa(), pool)) << "row-major, same kernels";
      // Fast products with float weights are not the reference's, which are float32.
      if (FindIntegerDot(format) == nullptr) continue;
      EXPECT_EQ(got, Product(w.matrix, x, 0, pool)) << "reference";
    }
  }
}

TEST(Pack, TakesTheSpaceOfTheFile) {
  for (int f = 0; f < kFormatCount; ++f) {
    const auto format = static_cast<Format>(f);
    const WeightMatrix w{.format = format, .rows = 14336, .cols = 4096};
    if (FindPanel16(format) == nullptr) continue;
    EXPECT_EQ(PackedBytes({w, Layout::kPanel16}), w.bytes()) << Info(format).name;
  }
}

TEST(BestLayout, IsTheFilesWithoutVectorKernels) {
  const KernelTable reference = SelectKernels(0);
  for (int f = 0; f < kFormatCount; ++f) {
    EXPECT_EQ(BestLayout(reference, static_cast<Format>(f)), Layout::kRowMajor);
  }
}

}  // namespace
}  // namespace octet
