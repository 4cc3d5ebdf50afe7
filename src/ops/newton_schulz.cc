#include "ops/newton_schulz.h"

#include <algorithm>
#include <cmath>

#include "ops/tiles.h"

namespace octet {
namespace {

// Jordan's quintic: steep at zero, so that five steps lift what is small, at the price of not
// settling at one.
constexpr float kFirst = 3.4445f, kThird = -4.7750f, kFifth = 2.0315f;
constexpr int kSteps = 5;
constexpr int64_t kBand = 16;  // rows transposed at once: one cache line of each column

int64_t RoundUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

void Transpose(View<const float, 2> x, float* out) {
  const int64_t rows = x.shape[0], cols = x.shape[1];
  for (int64_t first = 0; first < rows; first += kBand) {
    const int64_t last = std::min(rows, first + kBand);
    for (int64_t c = 0; c < cols; ++c) {
      for (int64_t r = first; r < last; ++r) out[c * rows + r] = x[r].data[c];
    }
  }
}

/// x = u · x + v · y.
void Mix(float u, View<float, 2> x, float v, const float* y, const KernelTable& kernels) {
  const float* rows[] = {x.data, y};
  const float weights[] = {u, v};
  kernels.sum->sum({x.data, false, rows, weights, 2, x.size()});
}

}  // namespace

NewtonSchulz::NewtonSchulz(std::span<const Shape> shapes, Context& context)
    : kernels_(context.kernels), tiles_(context.arithmetic == Arithmetic::kBf16) {
  int64_t side = 0, size = 0, values = 0;
  for (const Shape& shape : shapes) {
    side = std::max(side, std::min(shape.rows, shape.cols));
    size = std::max(size, shape.rows * shape.cols);
    values = std::max(values, RoundUp(shape.rows, kTileDepth) * RoundUp(shape.cols, kTileDepth));
  }
  Arena& arena = context.scratch;
  square_ = arena.Allocate<float>(side * side);
  fourth_ = arena.Allocate<float>(side * side);
  next_ = arena.Allocate<float>(size);
  turned_ = arena.Allocate<float>(tiles_ ? 0 : size);
  left_ = arena.Allocate<uint16_t>(tiles_ ? values : 0);
  right_ = arena.Allocate<uint16_t>(tiles_ ? values : 0);
  // The kernel for many rows: all choices give the same bits.
  float_product_ =
      kernels_.Matmul(Format::kF32, Layout::kRowMajor, Arithmetic::kFloat32, kManyRows);
  kernel_ = arena.Allocate<float>(tiles_ ? 0 : float_product_->scratch_floats);
}

void NewtonSchulz::Pack(const Operand& operand, bool pairs, uint16_t* out) {
  const View<const float, 2>& x = operand.x;
  kernels_.pack_tiles->pack_tiles(
      {.x = x.data,
       .x_stride = x.stride[0],
       .rows = x.shape[0],
       .cols = x.shape[1],
       .turned = operand.turned,
       .pairs = pairs,
       .out = out,
       .panel_tiles = RoundUp(operand.depth(), kTileDepth) / kTileDepth});
}

View<const float, 2> NewtonSchulz::RowsOf(const Operand& operand) {
  if (!operand.turned) return operand.x;
  Transpose(operand.x, turned_);
  return MakeView<const float>(turned_, operand.outputs(), operand.depth());
}

void NewtonSchulz::Multiply(const Operand& a, const Operand& b, View<float, 2> c) {
  if (tiles_) {
    Pack(a, false, left_);
    Pack(b, true, right_);
    MultiplyBlock(left_, {right_, b.outputs(), b.depth()}, c, Into::kWrite, kernels_);
    return;
  }
  const View<const float, 2> x = RowsOf(a), w = RowsOf(b);
  float_product_->matmul({.w = reinterpret_cast<const std::byte*>(w.data),
                          .w_row_bytes = w.stride[0] * static_cast<int64_t>(sizeof(float)),
                          .rows = w.shape[0],
                          .cols = w.shape[1],
                          .x = x.data,
                          .x_stride = x.stride[0],
                          .y = c.data,
                          .y_stride = c.stride[0],
                          .tokens = x.shape[0],
                          .decode = Info(Format::kF32).decode,
                          .scratch = kernel_});
}

void NewtonSchulz::Step(View<float, 2> x) {
  const int64_t rows = x.shape[0], cols = x.shape[1], side = std::min(rows, cols);
  const bool wide = rows <= cols;
  const auto square = MakeView(square_, side, side), fourth = MakeView(fourth_, side, side);
  const auto next = MakeView(next_, rows, cols);
  // x xᵀ, or xᵀ x where x is tall.
  Multiply({x, !wide}, {x, !wide}, square);
  Multiply({square}, {square}, fourth);
  Mix(kThird, square, kFifth, fourth.data, kernels_);
  // Symmetric, so that it needs no turning on either side.
  if (wide) {
    Multiply({square}, {x, true}, next);
  } else {
    Multiply({x}, {square}, next);
  }
  Mix(kFirst, x, 1, next.data, kernels_);
}

void NewtonSchulz::Run(View<float, 2> x) {
  double squares = 0;
  kernels_.dot->dot({x.data, x.data, x.size(), &squares});
  if (!(squares > 0)) return;
  const auto scale = static_cast<float>(1 / std::sqrt(squares));
  const float* row = x.data;
  kernels_.sum->sum({x.data, false, &row, &scale, 1, x.size()});
  for (int step = 0; step < kSteps; ++step) Step(x);
}

}  // namespace octet
