#include "ops/tiles.h"

#include <algorithm>

#include "base/check.h"

namespace octet {
namespace {

constexpr int64_t kPackRows = 64;  // of a piece of packing
/// Of a piece of c: its rows' operand is in level 2 while that of the columns streams past it.
constexpr int64_t kPieceRows = 256, kPieceCols = 512;
constexpr int64_t kPieceStride = kPieceCols + 16;  // rows in different sets of the caches
/// Of its depth at once: both operands and the sums stay in level 2.
constexpr int64_t kPieceTiles = 16;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Which task a piece of many belongs to: first[i] is the number of the first piece of task i.
struct PieceOf {
  const int64_t* first;
  int64_t tasks;
  int64_t operator()(int64_t piece) const {
    return std::upper_bound(first, first + tasks, piece) - first - 1;
  }
};

void MultiplyPiece(const TileProductTask& task, int64_t piece, float* own,
                   const KernelDescriptor& kernel) {
  const int64_t across = CeilDiv(task.c.shape[1], kPieceCols);
  const int64_t row = piece / across * kPieceRows, col = piece % across * kPieceCols;
  const int64_t panel_tiles = task.a.panel_tiles();
  float* c = task.c.data + row * task.c.stride[0] + col;
  for (int64_t first = 0; first == 0 || first < panel_tiles; first += kPieceTiles) {
    const bool begins = first == 0, ends = first + kPieceTiles >= panel_tiles;
    const int64_t at = first * kTileValues;
    kernel.tile_product({.a = task.a.tiles + row / kTileOutputs * panel_tiles * kTileValues + at,
                         .b = task.b.tiles + col / kTileOutputs * panel_tiles * kTileValues + at,
                         .a_panel_tiles = panel_tiles,
                         .b_panel_tiles = panel_tiles,
                         .depth_tiles = std::min(kPieceTiles, panel_tiles - first),
                         .rows = std::min(kPieceRows, task.c.shape[0] - row),
                         .cols = std::min(kPieceCols, task.c.shape[1] - col),
                         .c = ends ? c : own,
                         .c_stride = ends ? task.c.stride[0] : kPieceStride,
                         .from = !begins    ? own
                                 : task.add ? c
                                            : nullptr,
                         .from_stride = begins ? task.c.stride[0] : kPieceStride,
                         .streams = ends && task.streams});
  }
}

/// Runs fn(task, piece of it) for every piece of every task.
void ForEachPiece(int64_t tasks, FunctionRef<int64_t(int64_t task)> pieces_of,
                  FunctionRef<void(int64_t task, int64_t piece)> fn, Context& context) {
  const Arena::Scope scope(context.scratch);
  auto* first = context.scratch.Allocate<int64_t>(tasks);
  int64_t pieces = 0;
  for (int64_t i = 0; i < tasks; ++i) {
    first[i] = pieces;
    pieces += pieces_of(i);
  }
  const PieceOf task_of{first, tasks};
  context.pool.ParallelFor(pieces, [&](int64_t piece, int) {
    const int64_t task = task_of(piece);
    fn(task, piece - first[task]);
  });
}

}  // namespace

void PackTiles(std::span<const PackTask> tasks, Context& context) {
  ForEachPiece(
      static_cast<int64_t>(tasks.size()),
      [&](int64_t i) { return CeilDiv(tasks[static_cast<size_t>(i)].x.shape[0], kPackRows); },
      [&](int64_t i, int64_t piece) {
        const PackTask& task = tasks[static_cast<size_t>(i)];
        const int64_t row = piece * kPackRows;
        PackTaskRows(task, row, std::min(kPackRows, task.x.shape[0] - row), context.kernels);
      },
      context);
}

void PackTaskRows(const PackTask& task, int64_t first, int64_t count, const KernelTable& kernels) {
  const int64_t panel_tiles = task.operand().panel_tiles();
  // Rows are panels, or tiles along the depth.
  const int64_t tile = task.turned ? first / kTileDepth : first / kTileOutputs * panel_tiles;
  kernels.pack_tiles->pack_tiles({.x = task.x.data + first * task.x.stride[0],
                                  .x_stride = task.x.stride[0],
                                  .rows = count,
                                  .cols = task.x.shape[1],
                                  .turned = task.turned,
                                  .pairs = task.pairs,
                                  .streams = task.streams,
                                  .out = task.out + tile * kTileValues,
                                  .panel_tiles = panel_tiles});
}

TilePieces::TilePieces(std::span<const TileProductTask> tasks, int threads, Arena& arena)
    : tasks_(tasks),
      first_(arena.Allocate<int64_t>(static_cast<int64_t>(tasks.size()) + 1)),
      sums_(arena.Allocate<float>(threads * kPieceRows * kPieceStride)) {
  first_[0] = 0;
  for (size_t i = 0; i < tasks.size(); ++i) {
    const TileProductTask& task = tasks[i];
    CHECK(task.a.depth == task.b.depth && task.c.shape[0] == task.a.outputs &&
          task.c.shape[1] == task.b.outputs);
    first_[i + 1] =
        first_[i] + CeilDiv(task.c.shape[0], kPieceRows) * CeilDiv(task.c.shape[1], kPieceCols);
  }
}

void TilePieces::Multiply(int64_t piece, int worker, const KernelTable& kernels) const {
  const PieceOf task_of{first_, static_cast<int64_t>(tasks_.size())};
  const int64_t task = task_of(piece);
  MultiplyPiece(tasks_[static_cast<size_t>(task)], piece - first_[task],
                sums_ + worker * kPieceRows * kPieceStride, *kernels.tile_product);
}

void MultiplyTiles(std::span<const TileProductTask> tasks, Context& context) {
  const Arena::Scope scope(context.scratch);
  const TilePieces pieces(tasks, context.pool.threads(), context.scratch);
  context.pool.ParallelFor(
      pieces.count(), [&](int64_t i, int worker) { pieces.Multiply(i, worker, context.kernels); });
}

void PackBlock(const TileSource& x, bool pairs, uint16_t* out, const KernelTable& kernels) {
  kernels.pack_tiles->pack_tiles({.x = x.x,
                                  .rounded = x.rounded,
                                  .x_stride = x.stride,
                                  .rows = x.rows,
                                  .cols = x.cols,
                                  .pairs = pairs,
                                  .out = out,
                                  .panel_tiles = CeilDiv(x.cols, kTileDepth)});
}

void PackTurnedBlock(const TileSource& x, const TurnedBlock& block, const KernelTable& kernels) {
  kernels.pack_tiles->pack_tiles({.x = x.x,
                                  .rounded = x.rounded,
                                  .x_stride = x.stride,
                                  .rows = x.rows,
                                  .cols = x.cols,
                                  .turned = true,
                                  .pairs = block.pairs,
                                  .streams = true,
                                  .out = block.operand + block.first / kTileDepth * kTileValues,
                                  .panel_tiles = CeilDiv(block.operand_depth, kTileDepth)});
}

void MultiplyBlock(const uint16_t* a, const TileOperand& b, View<float, 2> c, Into into,
                   const KernelTable& kernels) {
  kernels.tile_product->tile_product({.a = a,
                                      .b = b.tiles,
                                      .a_panel_tiles = b.panel_tiles(),
                                      .b_panel_tiles = b.panel_tiles(),
                                      .depth_tiles = b.panel_tiles(),
                                      .rows = c.shape[0],
                                      .cols = c.shape[1],
                                      .c = c.data,
                                      .c_stride = c.stride[0],
                                      .from = into == Into::kAdd ? c.data : nullptr,
                                      .from_stride = c.stride[0],
                                      .streams = into == Into::kStream});
}

void MultiplyBlock(const uint16_t* a, const TileOperand& b, const TileOperand& more,
                   View<float, 2> c, const KernelTable& kernels) {
  kernels.tile_product->tile_product({.a = a,
                                      .b = b.tiles,
                                      .a_panel_tiles = b.panel_tiles() + more.panel_tiles(),
                                      .b_panel_tiles = b.panel_tiles(),
                                      .depth_tiles = b.panel_tiles() + more.panel_tiles(),
                                      .rows = c.shape[0],
                                      .cols = c.shape[1],
                                      .c = c.data,
                                      .c_stride = c.stride[0],
                                      .streams = true,
                                      .b_more = more.tiles,
                                      .b_tiles = b.panel_tiles()});
}

TileOperand WeightOperand(const WeightMatrix& w, bool by_cols, Context& context) {
  const int64_t outputs = by_cols ? w.cols : w.rows, depth = by_cols ? w.rows : w.cols;
  if (w.tiles != nullptr) return {by_cols ? w.tiles->by_cols : w.tiles->by_rows, outputs, depth};
  CHECK(w.layout == Layout::kRowMajor);
  auto* out = context.scratch.Allocate<uint16_t>(TileOperand::Values(outputs, depth));
  const Arena::Scope scope(context.scratch);
  const float* values = reinterpret_cast<const float*>(w.data);
  if (w.format != Format::kF32) {
    auto* decoded = context.scratch.Allocate<float>(w.rows * w.cols);
    context.pool.ParallelFor(w.rows, [&](int64_t r, int) {
      Info(w.format).decode(w.data + r * w.row_bytes(), w.cols, decoded + r * w.cols);
    });
    values = decoded;
  }
  const PackTask task{MakeView(values, w.rows, w.cols), by_cols, true, out};
  PackTiles({&task, 1}, context);
  return task.operand();
}

}  // namespace octet
