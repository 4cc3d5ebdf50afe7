#include "ops/lora.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"
#include "ops/linear.h"
#include "ops/linear_grad.h"

namespace octet {
namespace {

using Floats = std::vector<float>;

class Lora : public ::testing::Test {
 protected:
  static constexpr int64_t kTokens = 21, kRows = 19, kCols = 33, kRank = 3;

  static Floats Random(int64_t n, uint64_t stream) {
    Floats x(static_cast<size_t>(n));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(RandomNormal(9, stream, i));
    return x;
  }
  template <class T>
  static View<T, 2> Matrix(std::vector<T>& x, int64_t cols) {
    return MakeView(x.data(), static_cast<int64_t>(x.size()) / cols, cols);
  }

  Floats x_ = Random(kTokens * kCols, 1), w_ = Random(kRows * kCols, 2);
  Floats a_ = Random(kRank * kCols, 3), b_ = Random(kRows * kRank, 4);
  Floats d_y_ = Random(kTokens * kRows, 5);
  AdapterMatrix adapter_{a_.data(), b_.data(), kRank, 0.5f};
  WeightMatrix matrix_{"w",      Format::kF32, Layout::kRowMajor,
                       kRows,    kCols,        reinterpret_cast<const std::byte*>(w_.data()),
                       &adapter_};
  ThreadPool pool_{2};
  KernelTable kernels_ = SelectKernels(DetectIsa());
  Arena arena_;
  Context context_{pool_, kernels_, arena_, Arithmetic::kFloat32};
};

/// What a float product of n terms may be off by, against double: n roundings of terms whose sizes
/// add up to `magnitude`.
double Limit(int64_t n, double magnitude) { return static_cast<double>(n) * 0x1p-24 * magnitude; }

TEST_F(Lora, LinearAddsTheAdapter) {
  Floats y(kTokens * kRows);
  Linear(matrix_, Matrix(x_, kCols), Matrix(y, kRows), context_);
  for (int64_t t = 0; t < kTokens; ++t) {
    for (int64_t r = 0; r < kRows; ++r) {
      double want = 0, magnitude = 0;
      for (int64_t c = 0; c < kCols; ++c) {
        double w = w_[r * kCols + c], size = std::abs(w);
        for (int64_t i = 0; i < kRank; ++i) {
          w += 0.5 * b_[r * kRank + i] * a_[i * kCols + c];
          size += 0.5 * std::abs(static_cast<double>(b_[r * kRank + i]) * a_[i * kCols + c]);
        }
        want += w * x_[t * kCols + c];
        magnitude += size * std::abs(x_[t * kCols + c]);
      }
      EXPECT_NEAR(y[t * kRows + r], want, Limit(8, magnitude));
    }
  }
  // A row's bits do not depend on the others.
  Floats alone(kRows);
  Linear(matrix_, MakeView(static_cast<const float*>(&x_[7 * kCols]), 1, kCols),
         Matrix(alone, kRows), context_);
  for (int64_t r = 0; r < kRows; ++r) EXPECT_EQ(alone[r], y[7 * kRows + r]);
}

TEST_F(Lora, RowsHaveTheirOwnWhateverTheirNeighboursHave) {
  const Floats a = Random(5 * kCols, 6), b = Random(kRows * 5, 7);
  const AdapterMatrix choices[] = {adapter_, {}, {a.data(), b.data(), 5, 0.25f}};
  WeightMatrix base = matrix_;
  base.adapter = nullptr;
  const auto product = [&](const WeightMatrix& w, std::span<const int32_t> adapter) {
    Floats y(kTokens * kRows);
    const LinearTask task{&w, Matrix(x_, kCols), Matrix(y, kRows), adapter};
    Linear({&task, 1}, context_);
    return y;
  };
  std::vector<Floats> whole = {product(base, {}), product(matrix_, {})};
  whole.push_back(whole[0]);  // the second leaves this matrix as it is
  WeightMatrix other = base;
  other.adapter = &choices[2];
  whole.push_back(product(other, {}));
  base.choices = choices;
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < kTokens; ++t) ids.push_back(static_cast<int32_t>((t * 7 + t / 3) % 4));
  for (int pass = 0; pass < 2; ++pass) {  // scattered, and neighbours
    const Floats mixed = product(base, ids);
    for (size_t i = 0; i < mixed.size(); ++i) {
      const auto id = static_cast<size_t>(ids[i / kRows]);
      ASSERT_EQ(mixed[i], whole[id][i]) << "row " << i / kRows << " with " << id;
    }
    std::ranges::sort(ids);
  }
  EXPECT_EQ(product(base, {}), whole[0]);
}

TEST_F(Lora, GradientsAreThoseOfTheProduct) {
  Floats d_x(kTokens * kCols), d_a(a_.size(), 0.0f), d_b(b_.size(), 0.0f);
  const LinearGradInputTask input{&matrix_, Matrix(d_y_, kRows), Matrix(d_x, kCols)};
  LinearGradInput({&input, 1}, context_);
  const LinearGradWeightTask weight{Matrix(x_, kCols),
                                    Matrix(d_y_, kRows),
                                    {},
                                    &matrix_,
                                    {Matrix(d_a, kCols), Matrix(d_b, kRank)}};
  LinearGradWeight({&weight, 1}, context_);

  // The loss Σ d_y · y is linear in each of x, A and B: differences are exact but for rounding.
  auto loss = [&] {
    Floats y(kTokens * kRows);
    Linear(matrix_, Matrix(x_, kCols), Matrix(y, kRows), context_);
    double sum = 0, size = 0;
    for (size_t i = 0; i < y.size(); ++i) {
      sum += static_cast<double>(d_y_[i]) * y[i];
      size += std::abs(static_cast<double>(d_y_[i]) * y[i]);
    }
    return std::pair{sum, size};
  };
  auto check = [&](Floats& values, const Floats& gradient) {
    const Floats start = values;
    double predicted = 0;
    const Floats u = Random(static_cast<int64_t>(values.size()), 6);
    const auto [before, size] = loss();
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] += u[i];
      predicted += static_cast<double>(gradient[i]) * (static_cast<double>(values[i]) - start[i]);
    }
    const auto [after, size_after] = loss();
    values = start;
    EXPECT_NEAR(after - before, predicted, Limit(8, size + size_after));
    EXPECT_GT(std::abs(predicted), 100 * Limit(8, size));
  };
  check(x_, d_x);
  check(a_, d_a);
  check(b_, d_b);
}

TEST_F(Lora, AFrozenAdapterHasNoGradient) {
  const LinearGradWeightTask weight{Matrix(x_, kCols), Matrix(d_y_, kRows), {}, &matrix_, {}};
  LinearGradWeight({&weight, 1}, context_);  // writes nowhere
}

}  // namespace
}  // namespace octet
