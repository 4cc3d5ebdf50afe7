#include "ops/tile_xent.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "ops/tiles.h"

namespace octet {
namespace {

constexpr int64_t kRows = 256, kCols = 512;  // of a stretch: logits and operands stay in level 2
/// Values of the turned gradient at once, 32 MB: it is read again while in the last cache.
constexpr int64_t kTurnedValues = 16 << 20;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Memory of one worker.
struct Scratch {
  uint16_t *x, *d_z;  // operands of a block of rows; of a stretch
  float* logits;      // [kRows, kCols]
  float *m, *log_sum, *at_target;
  double* sum;
  int32_t* target;  // counted from the stretch's first column
};

Scratch MakeScratch(int64_t d, Arena& arena) {
  return {arena.Allocate<uint16_t>(TileOperand::Values(kRows, d)),
          arena.Allocate<uint16_t>(TileOperand::Values(kRows, kCols)),
          arena.Allocate<float>(kRows * kCols),
          arena.Allocate<float>(kRows),
          arena.Allocate<float>(kRows),
          arena.Allocate<float>(kRows),
          arena.Allocate<double>(kRows),
          arena.Allocate<int32_t>(kRows)};
}

struct Pass {
  const TargetTask& task;
  TileOperand head, head_by_cols;  // outputs are the vocabulary; d_model (only for the gradient)
  std::span<float> log_prob;
  Scratch* scratch;  // [threads]
  const KernelTable& kernels;

  int64_t vocab() const { return head.outputs; }
};

/// Rows [first, first + count).
struct Block {
  int64_t first, count;
};

/// The logits of columns [col, col + cols).
View<float, 2> Logits(const Pass& pass, const Block& block, int64_t col, const Scratch& s) {
  const int64_t cols = std::min(kCols, pass.vocab() - col);
  TileOperand stretch = pass.head;
  stretch.tiles += col / kTileOutputs * pass.head.panel_tiles() * kTileValues;
  stretch.outputs = cols;
  const View<float, 2> z = MakeView(s.logits, block.count, cols);
  MultiplyBlock(s.x, stretch, z, Into::kWrite, pass.kernels);
  return z;
}

/// Packs the rows; fills s.log_sum and log_prob.
void SumBlock(const Pass& pass, const Block& block, const Scratch& s) {
  PackBlock(pass.task.x.Rows(block.first, block.count), false, s.x, pass.kernels);
  std::fill_n(s.m, block.count, std::numeric_limits<float>::lowest());
  std::fill_n(s.sum, block.count, 0.0);
  for (int64_t col = 0; col < pass.vocab(); col += kCols) {
    const View<float, 2> z = Logits(pass, block, col, s);
    pass.kernels.log_sum->log_sum({z.data, z.stride[0], z.shape[0], z.shape[1], s.m, s.sum});
    for (int64_t r = 0; r < block.count; ++r) {
      const int64_t at = pass.task.target[static_cast<size_t>(block.first + r)] - col;
      if (at >= 0 && at < z.shape[1]) s.at_target[r] = z[r][at];
    }
  }
  for (int64_t r = 0; r < block.count; ++r) {
    const double log_sum = s.m[r] + std::log(s.sum[r]);
    s.log_sum[r] = static_cast<float>(log_sum);
    pass.log_prob[static_cast<size_t>(block.first + r)] =
        static_cast<float>(s.at_target[r] - log_sum);
  }
}

/// Where the gradient of a group of rows goes, turned; `first` is the group's first row.
struct TurnedGroup {
  uint16_t* d_z;  // nullptr: the head is frozen
  uint16_t* x;
  int64_t first, rows;
};

/// d_x of a block's rows, and its part of the group's operands.
void GradBlock(const Pass& pass, const TargetGrad& grad, const Block& block,
               const TurnedGroup& group, const Scratch& s) {
  SumBlock(pass, block, s);
  const int64_t from = block.first - group.first;
  const View<float, 2> d_x = grad.d_x.Rows(block.first, block.count);
  if (group.d_z != nullptr) {
    PackTurnedBlock(pass.task.x.Rows(block.first, block.count), {true, group.x, from, group.rows},
                    pass.kernels);
  }
  const int64_t group_tiles = CeilDiv(group.rows, kTileDepth);
  const int64_t vocab_tiles = pass.head_by_cols.panel_tiles();
  for (int64_t col = 0; col < pass.vocab(); col += kCols) {
    const View<float, 2> z = Logits(pass, block, col, s);
    for (int64_t r = 0; r < block.count; ++r) {
      s.target[r] =
          pass.task.target[static_cast<size_t>(block.first + r)] - static_cast<int32_t>(col);
    }
    uint16_t* turned =
        group.d_z == nullptr
            ? nullptr
            : group.d_z + (col / kTileOutputs * group_tiles + from / kTileDepth) * kTileValues;
    const int64_t tiles = CeilDiv(z.shape[1], kTileDepth);
    pass.kernels.target_tiles->target_tiles({.z = z.data,
                                             .stride = z.stride[0],
                                             .rows = z.shape[0],
                                             .n = z.shape[1],
                                             .log_sum = s.log_sum,
                                             .d_log_prob = &grad.d_log_prob[block.first],
                                             .target = s.target,
                                             .tiles = s.d_z,
                                             .panel_tiles = tiles,
                                             .turned = turned,
                                             .turned_panel_tiles = group_tiles});
    pass.kernels.tile_product->tile_product(
        {.a = s.d_z,
         .b = pass.head_by_cols.tiles + col / kTileDepth * kTileValues,
         .a_panel_tiles = tiles,
         .b_panel_tiles = vocab_tiles,
         .depth_tiles = tiles,
         .rows = block.count,
         .cols = d_x.shape[1],
         .c = d_x.data,
         .c_stride = d_x.stride[0],
         .from = col > 0 ? d_x.data : nullptr,
         .from_stride = d_x.stride[0]});
  }
}

Scratch* MakeScratches(int64_t d, Context& context) {
  auto* scratch = context.scratch.Allocate<Scratch>(context.pool.threads());
  for (int w = 0; w < context.pool.threads(); ++w) scratch[w] = MakeScratch(d, context.scratch);
  return scratch;
}

/// Calls fn(block, worker) for blocks of rows [first, end).
void ForEachBlock(int64_t first, int64_t end, Context& context,
                  FunctionRef<void(const Block&, int)> fn) {
  context.pool.ParallelFor(CeilDiv(end - first, kRows), [&](int64_t i, int worker) {
    const int64_t row = first + i * kRows;
    fn({row, std::min(kRows, end - row)}, worker);
  });
}

}  // namespace

void TileTargetLogProbs(const TargetTask& task, std::span<float> log_prob, Context& context) {
  const Arena::Scope scope(context.scratch);
  CHECK(task.head->adapter == nullptr);
  const Pass pass{task,     WeightOperand(*task.head, false, context), {},
                  log_prob, MakeScratches(task.x.shape[1], context),   context.kernels};
  ForEachBlock(0, task.x.shape[0], context, [&](const Block& block, int worker) {
    SumBlock(pass, block, pass.scratch[worker]);
  });
}

void TileTargetLogProbsGrad(const TargetTask& task, const TargetGrad& grad,
                            std::span<float> log_prob, Context& context) {
  const Arena::Scope scope(context.scratch);
  Arena& arena = context.scratch;
  CHECK(task.head->adapter == nullptr);
  const int64_t rows = task.x.shape[0], d = task.x.shape[1], vocab = task.head->rows;
  const Pass pass{task,
                  WeightOperand(*task.head, false, context),
                  WeightOperand(*task.head, true, context),
                  log_prob,
                  MakeScratches(d, context),
                  context.kernels};
  const bool trained = grad.d_head.data != nullptr;
  const int64_t most = std::max<int64_t>(1, kTurnedValues / vocab / (2 * kRows)) * 2 * kRows;
  const int64_t group_rows = std::min(rows, most);
  TurnedGroup group = {};
  if (trained) {
    // Outputs of what is turned come in whole tiles of both sides.
    group.d_z = arena.Allocate<uint16_t>(
        TileOperand::Values(CeilDiv(vocab, kTileDepth) * kTileDepth, group_rows));
    group.x = arena.Allocate<uint16_t>(TileOperand::Values(d, group_rows));
  }
  if (rows == 0 && trained && grad.begins) std::fill_n(grad.d_head.data, grad.d_head.size(), 0.0f);
  for (int64_t first = 0; first < rows; first += group_rows) {
    group.first = first;
    group.rows = std::min(group_rows, rows - first);
    ForEachBlock(first, first + group.rows, context, [&](const Block& block, int worker) {
      GradBlock(pass, grad, block, group, pass.scratch[worker]);
    });
    if (!trained) continue;
    const TileProductTask product{{group.d_z, vocab, group.rows},
                                  {group.x, d, group.rows},
                                  grad.d_head,
                                  !grad.begins || first > 0,
                                  true};
    MultiplyTiles({&product, 1}, context);
  }
}

}  // namespace octet
