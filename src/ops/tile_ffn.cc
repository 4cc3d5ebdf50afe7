#include "ops/tile_ffn.h"

#include <algorithm>

#include "ops/rows.h"
#include "ops/tiles.h"

namespace octet {
namespace {

constexpr int64_t kBlockRows = 128;  // of a piece: its floats and tiles stay in level 2

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Outputs of turned operands come in registers of 32.
int64_t TurnedValues(int64_t cols, int64_t depth) {
  return TileOperand::Values(CeilDiv(cols, kTileDepth) * kTileDepth, depth);
}

struct ExpertTiles {
  TileOperand w1, w3, w2;
};

/// Rows [first, first + rows) of the slots, all of one expert; `from` counts from its first.
struct Block {
  int64_t expert, first, from, rows;
};

std::span<const Block> MakeBlocks(const ExpertPlan& plan, int64_t experts, Arena& arena) {
  const int64_t slots = plan.offset[experts];
  auto* blocks = arena.Allocate<Block>(slots / kBlockRows + experts);
  size_t n = 0;
  for (int64_t e = 0; e < experts; ++e) {
    const int64_t count = plan.offset[e + 1] - plan.offset[e];
    for (int64_t from = 0; from < count; from += kBlockRows)
      blocks[n++] = {e, plan.offset[e] + from, from, std::min(kBlockRows, count - from)};
  }
  return {blocks, n};
}

/// Every touched expert's matrices, by rows for the forward pass, by columns for the backward one.
ExpertTiles* Operands(std::span<const Expert> experts, const ExpertPlan& plan, bool by_cols,
                      Context& context) {
  const auto n = static_cast<int64_t>(experts.size());
  auto* tiles = context.scratch.Allocate<ExpertTiles>(n);
  for (int64_t e = 0; e < n; ++e) {
    if (plan.offset[e + 1] == plan.offset[e]) continue;
    const Expert& expert = experts[static_cast<size_t>(e)];
    tiles[e] = {WeightOperand(expert.w1, by_cols, context),
                WeightOperand(expert.w3, by_cols, context),
                WeightOperand(expert.w2, by_cols, context)};
  }
  return tiles;
}

/// Memory of one worker.
struct ForwardScratch {
  uint16_t *x, *hidden;
  float *gate, *up;
};

/// What a backward pass leaves for the gradients of the weights: operands over all slots, those of
/// expert e from tile `first_tile[e]` of the depth on.
struct WeightOperands {
  uint16_t *x, *d_out, *hidden, *d_gate, *d_up;
};
struct BackwardScratch {
  uint16_t *d_out, *d_gate, *d_up;
  float* d_hidden;
};

}  // namespace

bool CanTileFfn(std::span<const Expert> experts, const ExpertActs& acts, const Context& context) {
  if (context.arithmetic != Arithmetic::kBf16 || acts.kept_gate.data == nullptr) return false;
  return std::none_of(experts.begin(), experts.end(), [](const Expert& e) {
    return e.w1.adapter != nullptr || e.w3.adapter != nullptr || e.w2.adapter != nullptr;
  });
}

void TileFfn(const TileSource& x, std::span<const Expert> experts, const ExpertPlan& plan,
             const ExpertActs& acts, View<float, 2> y, Context& context) {
  const Arena::Scope scope(context.scratch);
  Arena& arena = context.scratch;
  const int64_t d = x.cols, ff = acts.kept_gate.shape[1];
  const std::span<const Block> blocks =
      MakeBlocks(plan, static_cast<int64_t>(experts.size()), arena);
  const ExpertTiles* tiles = Operands(experts, plan, false, context);
  auto* scratch = arena.Allocate<ForwardScratch>(context.pool.threads());
  for (int w = 0; w < context.pool.threads(); ++w) {
    scratch[w] = {arena.Allocate<uint16_t>(TileOperand::Values(kBlockRows, d)),
                  arena.Allocate<uint16_t>(TileOperand::Values(kBlockRows, ff)),
                  arena.Allocate<float>(kBlockRows * ff), arena.Allocate<float>(kBlockRows * ff)};
  }
  const KernelTable& kernels = context.kernels;
  context.pool.ParallelFor(static_cast<int64_t>(blocks.size()), [&](int64_t i, int worker) {
    const Block& block = blocks[static_cast<size_t>(i)];
    const ForwardScratch& s = scratch[worker];
    const ExpertTiles& w = tiles[block.expert];
    kernels.pack_tiles->pack_tiles({.x = x.x,
                                    .rounded = x.rounded,
                                    .x_stride = x.stride,
                                    .row_of = plan.row_of_slot.data + block.first,
                                    .rows = block.rows,
                                    .cols = d,
                                    .out = s.x,
                                    .panel_tiles = w.w1.panel_tiles()});
    MultiplyBlock(s.x, w.w1, MakeView(s.gate, block.rows, ff), false, kernels);
    MultiplyBlock(s.x, w.w3, MakeView(s.up, block.rows, ff), false, kernels);
    kernels.swiglu_tiles->swiglu_tiles({.gate = s.gate,
                                        .up = s.up,
                                        .stride = ff,
                                        .rows = block.rows,
                                        .cols = ff,
                                        .hidden = s.hidden,
                                        .panel_tiles = w.w2.panel_tiles(),
                                        .kept_gate = acts.kept_gate[block.first].data,
                                        .kept_up = acts.kept_up[block.first].data,
                                        .kept_stride = ff});
    MultiplyBlock(s.hidden, w.w2, y.Rows(block.first, block.rows), false, kernels);
  });
}

namespace {

/// Tiles of the depth before each expert's: [E + 1].
const int64_t* FirstTiles(const ExpertPlan& plan, int64_t experts, Arena& arena) {
  auto* first = arena.Allocate<int64_t>(experts + 1);
  first[0] = 0;
  for (int64_t e = 0; e < experts; ++e)
    first[e + 1] = first[e] + CeilDiv(plan.offset[e + 1] - plan.offset[e], kTileDepth);
  return first;
}

struct GradPass {
  const TileFfnGradTask& task;
  const ExpertPlan& plan;
  float *slot_weight, *d_slot_weight;  // [S]
  const ExpertTiles* tiles;
  const int64_t* first_tile;
  WeightOperands operands;
  View<float, 2> d_slots;
  const KernelTable& kernels;

  int64_t d() const { return task.d_out.cols; }
  int64_t ff() const { return task.acts.kept_gate.shape[1]; }
  int64_t ExpertTileCount(int64_t e) const { return first_tile[e + 1] - first_tile[e]; }
  /// Expert e's part of an operand of `cols` outputs (a multiple of 32).
  uint16_t* Part(uint16_t* operand, int64_t cols, int64_t e) const {
    return operand + cols / kTileOutputs * first_tile[e] * kTileValues;
  }
  uint16_t* ByDim(uint16_t* operand, int64_t e) const {
    return Part(operand, CeilDiv(d(), kTileDepth) * kTileDepth, e);
  }
  uint16_t* ByFf(uint16_t* operand, int64_t e) const {
    return Part(operand, CeilDiv(ff(), kTileDepth) * kTileDepth, e);
  }
};

void GradBlock(const GradPass& pass, const Block& block, const BackwardScratch& s) {
  const int64_t d = pass.d(), ff = pass.ff(), tile = block.from / kTileDepth * kTileValues;
  const int64_t turned_tiles = pass.ExpertTileCount(block.expert);
  const int32_t* row_of = pass.plan.row_of_slot.data + block.first;
  const auto pack = [&](const TileSource& x, bool turned, bool pairs, uint16_t* out) {
    pass.kernels.pack_tiles->pack_tiles(
        {.x = x.x,
         .rounded = x.rounded,
         .x_stride = x.stride,
         .row_of = row_of,
         .rows = block.rows,
         .cols = d,
         .turned = turned,
         .pairs = pairs,
         .streams = turned,
         .out = out,
         .panel_tiles = turned ? turned_tiles : CeilDiv(d, kTileDepth)});
  };
  pack(pass.task.d_out, false, false, s.d_out);
  pack(pass.task.d_out, true, false, pass.ByDim(pass.operands.d_out, block.expert) + tile);
  pack(pass.task.x, true, true, pass.ByDim(pass.operands.x, block.expert) + tile);

  const ExpertTiles& w = pass.tiles[block.expert];
  MultiplyBlock(s.d_out, w.w2, MakeView(s.d_hidden, block.rows, ff), false, pass.kernels);
  pass.kernels.swiglu_grad_tiles->swiglu_grad_tiles(
      {.kept_gate = pass.task.acts.kept_gate[block.first].data,
       .kept_up = pass.task.acts.kept_up[block.first].data,
       .kept_stride = ff,
       .d_hidden = s.d_hidden,
       .stride = ff,
       .rows = block.rows,
       .cols = ff,
       .weight = pass.slot_weight + block.first,
       .d_weight = pass.d_slot_weight + block.first,
       .d_gate = s.d_gate,
       .d_up = s.d_up,
       .panel_tiles = CeilDiv(ff, kTileDepth),
       .d_gate_turned = pass.ByFf(pass.operands.d_gate, block.expert) + tile,
       .d_up_turned = pass.ByFf(pass.operands.d_up, block.expert) + tile,
       .hidden_turned = pass.ByFf(pass.operands.hidden, block.expert) + tile,
       .turned_panel_tiles = turned_tiles});
  const View<float, 2> d_x = pass.d_slots.Rows(block.first, block.rows);
  MultiplyBlock(s.d_gate, w.w1, d_x, false, pass.kernels);
  MultiplyBlock(s.d_up, w.w3, d_x, true, pass.kernels);
}

void Zero(const ExpertGrads& grads, Context& context) {
  for (const View<float, 2>& w : {grads.w1, grads.w3, grads.w2}) {
    if (w.data == nullptr) continue;
    ForEachRow(w.shape[0], w.shape[1], context,
               [&](int64_t r) { std::fill_n(w[r].data, w.shape[1], 0.0f); });
  }
}

void GradWeights(const GradPass& pass, int64_t experts, Context& context) {
  auto* products = context.scratch.Allocate<TileProductTask>(3 * experts);
  size_t n = 0;
  const bool add = !pass.task.begins;
  for (int64_t e = 0; e < experts; ++e) {
    const int64_t count = pass.plan.offset[e + 1] - pass.plan.offset[e];
    const ExpertGrads& grads = pass.task.grads[static_cast<size_t>(e)];
    if (count == 0) {
      if (!add) Zero(grads, context);
      continue;
    }
    const WeightOperands& o = pass.operands;
    const TileOperand x{pass.ByDim(o.x, e), pass.d(), count};
    if (grads.w1.data != nullptr)
      products[n++] = {{pass.ByFf(o.d_gate, e), pass.ff(), count}, x, grads.w1, add};
    if (grads.w3.data != nullptr)
      products[n++] = {{pass.ByFf(o.d_up, e), pass.ff(), count}, x, grads.w3, add};
    if (grads.w2.data != nullptr) {
      products[n++] = {{pass.ByDim(o.d_out, e), pass.d(), count},
                       {pass.ByFf(o.hidden, e), pass.ff(), count},
                       grads.w2,
                       add};
    }
  }
  MultiplyTiles({products, n}, context);
}

}  // namespace

void TileFfnGrad(const TileFfnGradTask& task, const ExpertPlan& plan, View<float, 2> d_weights,
                 View<float, 2> d_slots, Context& context) {
  const Arena::Scope scope(context.scratch);
  Arena& arena = context.scratch;
  const auto experts = static_cast<int64_t>(task.experts.size());
  const int64_t d = task.d_out.cols, ff = task.acts.kept_gate.shape[1];
  auto* slot_weight = arena.Allocate<float>(d_slots.shape[0]);
  auto* d_slot_weight = arena.Allocate<float>(d_slots.shape[0]);
  for (int64_t t = 0; t < plan.slot_of.shape[0]; ++t) {
    for (int64_t j = 0; j < plan.slot_of.shape[1]; ++j) {
      if (plan.slot_of[t][j] >= 0) slot_weight[plan.slot_of[t][j]] = plan.weight[t][j];
    }
  }
  const int64_t* first_tile = FirstTiles(plan, experts, arena);
  const int64_t depth = first_tile[experts] * kTileDepth;
  const auto turned = [&](int64_t cols) {
    return arena.Allocate<uint16_t>(TurnedValues(cols, depth));
  };
  const GradPass pass{task,
                      plan,
                      slot_weight,
                      d_slot_weight,
                      Operands(task.experts, plan, true, context),
                      first_tile,
                      {turned(d), turned(d), turned(ff), turned(ff), turned(ff)},
                      d_slots,
                      context.kernels};
  auto* scratch = arena.Allocate<BackwardScratch>(context.pool.threads());
  for (int w = 0; w < context.pool.threads(); ++w) {
    scratch[w] = {arena.Allocate<uint16_t>(TileOperand::Values(kBlockRows, d)),
                  arena.Allocate<uint16_t>(TileOperand::Values(kBlockRows, ff)),
                  arena.Allocate<uint16_t>(TileOperand::Values(kBlockRows, ff)),
                  arena.Allocate<float>(kBlockRows * ff)};
  }
  const std::span<const Block> blocks = MakeBlocks(plan, experts, arena);
  context.pool.ParallelFor(static_cast<int64_t>(blocks.size()), [&](int64_t i, int worker) {
    GradBlock(pass, blocks[static_cast<size_t>(i)], scratch[worker]);
  });
  for (int64_t t = 0; t < plan.slot_of.shape[0]; ++t) {
    for (int64_t j = 0; j < plan.slot_of.shape[1]; ++j) {
      const int64_t slot = plan.slot_of[t][j];
      d_weights[t][j] = slot < 0 ? 0 : d_slot_weight[slot];
    }
  }
  GradWeights(pass, experts, context);
}

}  // namespace octet
