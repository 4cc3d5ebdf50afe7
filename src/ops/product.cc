#include "ops/product.h"

#include <algorithm>

#include "base/check.h"

namespace octet {
namespace {

// A tile's rows of b, at most 128 · K floats, stay in the second-level cache while all its rows of
// a pass.
constexpr int64_t kTileRows = 256, kTileCols = 128;
// Rows transposed at once: each writes one whole cache line of a column.
constexpr int64_t kBand = 16;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Tiling {
  const Product* product;
  int64_t col_tiles;
  int64_t first;  // number of this product's first tile among all
};

/// `sum` holds a tile of a product that adds.
void RunTile(const Product& product, int64_t row, int64_t col, const KernelDescriptor& kernel,
             float* scratch, float* sum) {
  const int64_t rows = std::min(kTileRows, product.c.shape[0] - row);
  const int64_t cols = std::min(kTileCols, product.c.shape[1] - col);
  float* c = product.c.data + row * product.c.stride[0] + col;
  kernel.matmul(
      {.w = reinterpret_cast<const std::byte*>(product.b.data + col * product.b.stride[0]),
       .w_row_bytes = product.b.stride[0] * static_cast<int64_t>(sizeof(float)),
       .rows = cols,
       .cols = product.a.shape[1],
       .x = product.a.data + row * product.a.stride[0],
       .x_stride = product.a.stride[0],
       .y = product.add ? sum : c,
       .y_stride = product.add ? kTileCols : product.c.stride[0],
       .tokens = rows,
       .decode = Info(Format::kF32).decode,
       .scratch = scratch});
  if (!product.add) return;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < cols; ++i) c[r * product.c.stride[0] + i] += sum[r * kTileCols + i];
  }
}

/// Columns of kBand rows, given as a dense [rows, cols] of floats.
void TransposeBand(const float* in, int64_t in_stride, int64_t rows, int64_t cols, float* out,
                   int64_t out_stride) {
  for (int64_t c = 0; c < cols; ++c) {
    for (int64_t r = 0; r < rows; ++r) out[c * out_stride + r] = in[r * in_stride + c];
  }
}

}  // namespace

void Multiply(std::span<const Product> products, Context& context) {
  const Arena::Scope scope(context.scratch);
  auto* tilings = context.scratch.Allocate<Tiling>(static_cast<int64_t>(products.size()));
  const auto n = static_cast<int64_t>(products.size());
  int64_t tiles = 0;
  for (int64_t i = 0; i < n; ++i) {
    const Product& p = products[static_cast<size_t>(i)];
    CHECK(p.a.shape[1] == p.b.shape[1] && p.c.shape[0] == p.a.shape[0] &&
          p.c.shape[1] == p.b.shape[0]);
    tilings[i] = {&p, CeilDiv(p.c.shape[1], kTileCols), tiles};
    tiles += CeilDiv(p.c.shape[0], kTileRows) * tilings[i].col_tiles;
  }
  // The kernel for many rows: all choices give the same bits.
  const KernelDescriptor& kernel =
      *context.kernels.Matmul(Format::kF32, Layout::kRowMajor, Arithmetic::kFloat32, kTileRows);
  const int64_t scratch_floats = CeilDiv(kernel.scratch_floats, 16) * 16;
  const int64_t worker_floats = scratch_floats + kTileRows * kTileCols;
  auto* scratch = context.scratch.Allocate<float>(worker_floats * context.pool.threads());
  context.pool.ParallelFor(tiles, [&](int64_t tile, int worker) {
    const Tiling* tiling =
        std::upper_bound(tilings, tilings + n, tile,
                         [](int64_t t, const Tiling& other) { return t < other.first; }) -
        1;
    const int64_t local = tile - tiling->first;
    float* own = scratch + worker * worker_floats;
    RunTile(*tiling->product, local / tiling->col_tiles * kTileRows,
            local % tiling->col_tiles * kTileCols, kernel, own, own + scratch_floats);
  });
}

View<float, 2> Transposed(View<const float, 2> x, Context& context) {
  const int64_t rows = x.shape[0], cols = x.shape[1];
  auto out = context.scratch.Matrix<float>(cols, rows);
  context.pool.ParallelFor(CeilDiv(rows, kBand), [&](int64_t band, int) {
    const int64_t row = band * kBand;
    TransposeBand(x.data + row * x.stride[0], x.stride[0], std::min(kBand, rows - row), cols,
                  out.data + row, rows);
  });
  return out;
}

View<float, 2> Transposed(const WeightMatrix& w, Context& context) {
  CHECK(w.layout == Layout::kRowMajor);
  if (w.format == Format::kF32) {
    const auto* values = reinterpret_cast<const float*>(w.data);
    return Transposed(MakeView(values, w.rows, w.cols), context);
  }
  auto out = context.scratch.Matrix<float>(w.cols, w.rows);
  const Arena::Scope scope(context.scratch);
  auto* decoded = context.scratch.Allocate<float>(kBand * w.cols * context.pool.threads());
  const DecodeFn decode = Info(w.format).decode;
  context.pool.ParallelFor(CeilDiv(w.rows, kBand), [&](int64_t band, int worker) {
    const int64_t row = band * kBand, rows = std::min(kBand, w.rows - row);
    float* own = decoded + worker * kBand * w.cols;
    for (int64_t r = 0; r < rows; ++r)
      decode(w.data + (row + r) * w.row_bytes(), w.cols, own + r * w.cols);
    TransposeBand(own, w.cols, rows, w.cols, out.data + row, w.rows);
  });
  return out;
}

}  // namespace octet
