// Every kernel that packs or multiplies bf16 tiles against the reference, bit for bit, and the
// reference against double.
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/buffer.h"
#include "base/rng.h"
#include "cpu/isa.h"
#include "kernels/registry.h"

namespace octet {
namespace {

constexpr float kCanary = 77.0f;

std::vector<const KernelDescriptor*> KernelsOf(KernelOp op) {
  std::vector<const KernelDescriptor*> kernels;
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op == op && (kernel->isa & ~DetectIsa()) == 0) kernels.push_back(kernel);
  }
  return kernels;
}

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

std::vector<float> Random(int64_t n, uint64_t stream) {
  std::vector<float> x(n);
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(RandomNormal(11, stream, i));
  return x;
}

struct PackCase {
  int64_t rows, cols;
  bool turned, pairs, gathered, rounded, streams;
};

/// Tiles of a matrix with a stride, or of some of its rows; a panel more than needed stays as it
/// is.
std::vector<uint16_t> Pack(const KernelDescriptor& kernel, const PackCase& c) {
  const int64_t stride = c.cols + 5, rows = c.rows + 3;
  std::vector<float> x = Random(rows * stride, 1);
  x[0] = 1e-39f;  // subnormal
  x[1] = NAN;
  x[2] = 3.4e38f;
  std::vector<int32_t> row_of(c.rows);
  for (int64_t r = 0; r < c.rows; ++r) row_of[r] = static_cast<int32_t>((r * 7 + 2) % rows);
  std::vector<uint16_t> rounded(x.size());
  for (size_t i = 0; i < x.size(); ++i) rounded[i] = static_cast<uint16_t>(i * 257);
  const int64_t outputs = c.turned ? c.cols : c.rows, depth = c.turned ? c.rows : c.cols;
  const int64_t tiles = CeilDiv(depth, kTileDepth) + 1;
  const int64_t values = CeilDiv(outputs, kTileOutputs) * tiles * kTileValues;
  Buffer out = *Buffer::Allocate(values * sizeof(uint16_t), "test");
  std::memset(out.data(), 0x5a, out.size());
  kernel.pack_tiles({.x = c.rounded ? nullptr : x.data(),
                     .rounded = c.rounded ? rounded.data() : nullptr,
                     .x_stride = stride,
                     .row_of = c.gathered ? row_of.data() : nullptr,
                     .rows = c.rows,
                     .cols = c.cols,
                     .turned = c.turned,
                     .pairs = c.pairs,
                     .streams = c.streams,
                     .out = out.as<uint16_t>(),
                     .panel_tiles = tiles});
  return {out.as<uint16_t>(), out.as<uint16_t>() + values};
}

TEST(PackTiles, EqualsTheReferenceBitForBit) {
  const KernelDescriptor& reference = *SelectKernels(0).pack_tiles;
  for (const KernelDescriptor* kernel : KernelsOf(KernelOp::kPackTiles)) {
    for (const auto& [rows, cols] : {std::array<int64_t, 2>{1, 1}, {16, 32}, {33, 17}, {50, 100}}) {
      for (int bits = 0; bits < 32; ++bits) {
        const PackCase c{rows,
                         cols,
                         (bits & 1) != 0,
                         (bits & 2) != 0,
                         (bits & 4) != 0,
                         (bits & 8) != 0,
                         (bits & 16) != 0};
        EXPECT_EQ(Pack(*kernel, c), Pack(reference, c))
            << kernel->name << ", " << rows << " × " << cols << ", variant " << bits;
      }
    }
  }
}

TEST(RoundRows, EqualsTheReferenceBitForBit) {
  for (const KernelDescriptor* kernel : KernelsOf(KernelOp::kRoundRows)) {
    for (const int64_t cols : {1, 31, 32, 64, 100}) {
      constexpr int64_t kRows = 3;
      const int64_t stride = cols + 5, out_stride = (cols + 31) / 32 * 32;
      std::vector<float> x = Random(kRows * stride, 1);
      x[0] = 1e-39f;  // subnormal
      const auto run = [&](const KernelDescriptor& k) {
        Buffer out = *Buffer::Allocate(kRows * out_stride * sizeof(uint16_t), "test");
        std::memset(out.data(), 0x5a, out.size());
        k.round_rows({x.data(), stride, kRows, cols, out.as<uint16_t>(), out_stride});
        return std::vector<uint16_t>(out.as<uint16_t>(), out.as<uint16_t>() + kRows * out_stride);
      };
      EXPECT_EQ(run(*kernel), run(*SelectKernels(0).round_rows)) << kernel->name << ", " << cols;
    }
  }
}

struct Shape {
  int64_t rows, cols, depth;
};

struct Operands {
  explicit Operands(const Shape& s)
      : a(Random(s.rows * s.depth, 3)), b(Random(s.cols * s.depth, 4)) {}
  std::vector<float> a, b;  // [rows, depth], [cols, depth]
};

struct Product {
  bool add = false, apart = false;  // sums so far lie in c, or apart from it
  bool streams = false, parts = false;
};

int64_t StrideOf(const Shape& s) { return CeilDiv(s.cols + 1, kTileOutputs) * kTileOutputs; }

/// c [rows, StrideOf] with canaries in the gaps.
std::vector<float> Multiply(const KernelDescriptor& kernel, const Shape& s, const Product& p) {
  const Operands o(s);
  const int64_t tiles = CeilDiv(s.depth, kTileDepth);
  const KernelDescriptor& pack = *SelectKernels(DetectIsa()).pack_tiles;
  const auto packed = [&](const std::vector<float>& x, int64_t rows, bool pairs) {
    Buffer out = *Buffer::Allocate(CeilDiv(rows, kTileOutputs) * tiles * kTileValues * 2, "test");
    pack.pack_tiles({.x = x.data(),
                     .x_stride = s.depth,
                     .rows = rows,
                     .cols = s.depth,
                     .pairs = pairs,
                     .out = out.as<uint16_t>(),
                     .panel_tiles = tiles});
    return out;
  };
  const Buffer a = packed(o.a, s.rows, false), b = packed(o.b, s.cols, true);
  const int64_t stride = StrideOf(s);
  Buffer c = *Buffer::Allocate(s.rows * stride * sizeof(float), "test");
  std::vector<float> from(s.rows * stride);
  for (int64_t i = 0; i < s.rows * stride; ++i)
    from[i] = static_cast<float>(RandomNormal(11, 5, i));
  for (int64_t i = 0; i < s.rows * stride; ++i)
    c.as<float>()[i] = i % stride < s.cols && p.add && !p.apart ? from[i] : kCanary;
  kernel.tile_product(
      {.a = a.as<const uint16_t>(),
       .b = b.as<const uint16_t>(),
       .a_panel_tiles = tiles,
       .b_panel_tiles = tiles,
       .depth_tiles = tiles,
       .rows = s.rows,
       .cols = s.cols,
       .c = c.as<float>(),
       .c_stride = stride,
       .from = !p.add    ? nullptr
               : p.apart ? from.data()
                         : c.as<float>(),
       .from_stride = stride,
       .streams = p.streams,
       .b_more = p.parts ? b.as<const uint16_t>() + tiles / 2 * kTileValues : nullptr,
       .b_tiles = tiles / 2});
  return {c.as<float>(), c.as<float>() + s.rows * stride};
}

std::vector<Shape> Shapes() {
  return {{1, 1, 1},      {16, 16, 32}, {17, 33, 40}, {40, 16, 100},
          {64, 48, 1100}, {5, 70, 600}, {270, 64, 64}};
}

/// The reference of the same order of sums.
const KernelDescriptor& ReferenceProduct(TileSums sums) {
  for (const KernelDescriptor* kernel : KernelsOf(KernelOp::kTileProduct)) {
    if (kernel->isa == 0 && kernel->tile_sums == sums) return *kernel;
  }
  return *SelectKernels(0).tile_product;
}

TEST(TileProduct, EqualsTheReferenceBitForBitAndWritesOnlyItsOutputs) {
  for (const KernelDescriptor* kernel : KernelsOf(KernelOp::kTileProduct)) {
    const KernelDescriptor& reference = ReferenceProduct(kernel->tile_sums);
    for (const Shape& s : Shapes()) {
      for (const bool add : {false, true}) {
        const auto want = Multiply(reference, s, {.add = add});
        for (int64_t i = 0; i < s.rows; ++i)
          EXPECT_EQ(want[i * StrideOf(s) + s.cols], kCanary) << "reference";
        for (int bits = 0; bits < 8; ++bits) {
          const Product p{add, (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0};
          const auto got = Multiply(*kernel, s, p);
          EXPECT_EQ(std::memcmp(got.data(), want.data(), got.size() * sizeof(float)), 0)
              << kernel->name << ", " << s.rows << " × " << s.cols << " × " << s.depth
              << (add ? ", added" : "") << ", variant " << bits;
        }
      }
    }
  }
}

void ExpectCloseToExact(const Shape& s, const std::vector<float>& c) {
  const Operands o(s);
  for (int64_t i = 0; i < s.rows; ++i) {
    for (int64_t j = 0; j < s.cols; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < s.depth; ++k) {
        const double product = static_cast<double>(o.a[i * s.depth + k]) * o.b[j * s.depth + k];
        sum += product;
        magnitude += std::abs(product);
      }
      // Both operands are rounded to 8 bits, half a unit each, and each addition once.
      const double limit = (2.01 * 0x1p-9 + static_cast<double>(s.depth) * 0x1p-24) * magnitude;
      ASSERT_NEAR(c[i * StrideOf(s) + j], sum, limit);
    }
  }
}

TEST(TileProduct, IsCloseToExactArithmetic) {
  for (const KernelDescriptor* kernel : KernelsOf(KernelOp::kTileProduct)) {
    for (const Shape& s : Shapes()) {
      SCOPED_TRACE(kernel->name);
      ExpectCloseToExact(s, Multiply(*kernel, s, {}));
    }
  }
}

Buffer Tiles(int64_t values) {
  Buffer tiles = *Buffer::Allocate(values * sizeof(uint16_t), "test");
  std::memset(tiles.data(), 0x5a, tiles.size());
  return tiles;
}

/// hidden, gate and up kept, and the gradient's six outputs, one after another.
std::vector<uint16_t> SwiGlu(const KernelDescriptor& forward, const KernelDescriptor& backward,
                             int64_t rows, int64_t cols) {
  const int64_t stride = cols + 5, kept_stride = cols + 3;
  std::vector<float> gate = Random(rows * stride, 6), up = Random(rows * stride, 7);
  const std::vector<float> d_hidden = Random(rows * stride, 8), weight = Random(rows, 9);
  std::vector<float> d_weight(static_cast<size_t>(rows) + 1, kCanary);
  for (float& x : gate) x *= 8;
  const int64_t by_row = CeilDiv(cols, kTileDepth) + 1, by_col = CeilDiv(rows, kTileDepth) + 1;
  const int64_t row_values = CeilDiv(rows, 32) * 2 * by_row * kTileValues;
  const int64_t col_values = CeilDiv(cols, 32) * 2 * by_col * kTileValues;
  Buffer hidden = Tiles(row_values), d_gate = Tiles(row_values), d_up = Tiles(row_values);
  Buffer turned[3] = {Tiles(col_values), Tiles(col_values), Tiles(col_values)};
  Buffer kept[2] = {Tiles(rows * kept_stride), Tiles(rows * kept_stride)};
  forward.swiglu_tiles({.gate = gate.data(),
                        .up = up.data(),
                        .stride = stride,
                        .rows = rows,
                        .cols = cols,
                        .hidden = hidden.as<uint16_t>(),
                        .panel_tiles = by_row,
                        .kept_gate = kept[0].as<uint16_t>(),
                        .kept_up = kept[1].as<uint16_t>(),
                        .kept_stride = kept_stride});
  backward.swiglu_grad_tiles({.kept_gate = kept[0].as<uint16_t>(),
                              .kept_up = kept[1].as<uint16_t>(),
                              .kept_stride = kept_stride,
                              .d_hidden = d_hidden.data(),
                              .stride = stride,
                              .rows = rows,
                              .cols = cols,
                              .weight = weight.data(),
                              .d_weight = d_weight.data(),
                              .d_gate = d_gate.as<uint16_t>(),
                              .d_up = d_up.as<uint16_t>(),
                              .panel_tiles = by_row,
                              .d_gate_turned = turned[0].as<uint16_t>(),
                              .d_up_turned = turned[1].as<uint16_t>(),
                              .hidden_turned = turned[2].as<uint16_t>(),
                              .turned_panel_tiles = by_col});
  std::vector<uint16_t> all;
  for (const Buffer* b :
       {&hidden, &kept[0], &kept[1], &d_gate, &d_up, &turned[0], &turned[1], &turned[2]})
    all.insert(all.end(), b->as<const uint16_t>(), b->as<const uint16_t>() + b->size() / 2);
  const auto* words = reinterpret_cast<const uint16_t*>(d_weight.data());
  all.insert(all.end(), words, words + 2 * d_weight.size());
  return all;
}

TEST(SwiGluTiles, EqualTheReferenceBitForBit) {
  const KernelTable reference = SelectKernels(0), fast = SelectKernels(DetectIsa());
  for (const auto& [rows, cols] : {std::array<int64_t, 2>{1, 1}, {32, 32}, {50, 40}, {17, 100}}) {
    EXPECT_TRUE(SwiGlu(*fast.swiglu_tiles, *fast.swiglu_grad_tiles, rows, cols) ==
                SwiGlu(*reference.swiglu_tiles, *reference.swiglu_grad_tiles, rows, cols))
        << rows << " × " << cols;
  }
}

/// m, sum and then the gradient's two operands of a stretch of logits.
std::vector<uint16_t> TargetSoftmax(const KernelDescriptor& sums, const KernelDescriptor& grads,
                                    int64_t rows, int64_t cols) {
  const int64_t stride = cols + 5, by_row = CeilDiv(cols, kTileDepth) + 1;
  const int64_t by_col = CeilDiv(rows, kTileDepth) + 1;
  std::vector<float> z = Random(rows * stride, 10), m = Random(rows, 11), log_sum(rows);
  for (float& x : z) x *= 8;
  std::vector<double> sum(rows, 1.5);
  sums.log_sum({z.data(), stride, rows, cols, m.data(), sum.data()});
  std::vector<int32_t> target(rows);
  for (int64_t r = 0; r < rows; ++r) {
    log_sum[r] = m[r] + 3;
    target[r] = static_cast<int32_t>(r * 11 % (cols + 10)) - 5;  // some beside
  }
  const std::vector<float> d_log_prob = Random(rows, 12);
  Buffer tiles = Tiles(CeilDiv(rows, 32) * 2 * by_row * kTileValues);
  Buffer turned = Tiles(CeilDiv(cols, 32) * 2 * by_col * kTileValues);
  grads.target_tiles({.z = z.data(),
                      .stride = stride,
                      .rows = rows,
                      .n = cols,
                      .log_sum = log_sum.data(),
                      .d_log_prob = d_log_prob.data(),
                      .target = target.data(),
                      .tiles = tiles.as<uint16_t>(),
                      .panel_tiles = by_row,
                      .turned = turned.as<uint16_t>(),
                      .turned_panel_tiles = by_col});
  std::vector<uint16_t> all;
  const auto append = [&](const void* data, size_t bytes) {
    const auto* words = static_cast<const uint16_t*>(data);
    all.insert(all.end(), words, words + bytes / 2);
  };
  append(m.data(), m.size() * sizeof(float));
  append(sum.data(), sum.size() * sizeof(double));
  append(tiles.data(), tiles.size());
  append(turned.data(), turned.size());
  return all;
}

TEST(TargetTiles, EqualTheReferenceBitForBit) {
  const KernelTable reference = SelectKernels(0), fast = SelectKernels(DetectIsa());
  for (const auto& [rows, cols] : {std::array<int64_t, 2>{1, 1}, {32, 32}, {50, 40}, {17, 100}}) {
    EXPECT_TRUE(TargetSoftmax(*fast.log_sum, *fast.target_tiles, rows, cols) ==
                TargetSoftmax(*reference.log_sum, *reference.target_tiles, rows, cols))
        << rows << " × " << cols;
  }
}

}  // namespace
}  // namespace octet
