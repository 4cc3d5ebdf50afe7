#include "ops/tile_ffn.h"

#include <algorithm>

#include "ops/rows.h"
#include "ops/tiles.h"

namespace octet {
namespace {

/// Rows of a block, and columns of the hidden layer at a time: the block's operands and floats stay
/// in level 2 while the weights stream past them, so they are read once for many rows.
constexpr int64_t kBlockRows = 256, kStretch = 128;
constexpr int64_t kStretchStride = kStretch + 16;  // rows in different sets of the caches

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
    if (count == 0) continue;
    // Of one size: a few rows would read the weights as well.
    const int64_t even = CeilDiv(count, CeilDiv(count, kBlockRows));
    const int64_t rows = CeilDiv(even, kTileDepth) * kTileDepth;
    for (int64_t from = 0; from < count; from += rows)
      blocks[n++] = {e, plan.offset[e] + from, from, std::min(rows, count - from)};
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

/// What an expert's rows leave for the gradients of its weights, turned.
struct WeightOperands {
  uint16_t *x, *d_out, *hidden, *d_gate, *d_up;
};
struct BackwardScratch {
  uint16_t *d_out, *d_hidden_inputs;  // the latter: by gate, then by up
  float *d_hidden, *d_weight;
};

View<float, 2> Stretch(float* x, int64_t rows, int64_t cols) {
  return {x, {rows, cols}, {kStretchStride, 1}};
}

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
                  arena.Allocate<float>(kBlockRows * kStretchStride),
                  arena.Allocate<float>(kBlockRows * kStretchStride)};
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
    for (int64_t col = 0; col < ff; col += kStretch) {
      const int64_t cols = std::min(kStretch, ff - col);
      MultiplyBlock(s.x, w.w1.Part(col, cols), Stretch(s.gate, block.rows, cols), Into::kWrite,
                    kernels);
      MultiplyBlock(s.x, w.w3.Part(col, cols), Stretch(s.up, block.rows, cols), Into::kWrite,
                    kernels);
      kernels.swiglu_tiles->swiglu_tiles({.gate = s.gate,
                                          .up = s.up,
                                          .stride = kStretchStride,
                                          .rows = block.rows,
                                          .cols = cols,
                                          .hidden = s.hidden + col / kTileDepth * kTileValues,
                                          .panel_tiles = w.w2.panel_tiles(),
                                          .kept_gate = acts.kept_gate[block.first].data + col,
                                          .kept_up = acts.kept_up[block.first].data + col,
                                          .kept_stride = ff});
    }
    MultiplyBlock(s.hidden, w.w2, y.Rows(block.first, block.rows), Into::kStream, kernels);
  });
}

namespace {

struct GradPass {
  const TileFfnGradTask& task;
  const ExpertPlan& plan;
  float *slot_weight, *d_slot_weight;  // [S]
  const ExpertTiles* tiles;
  WeightOperands operands[2];  // of every other expert that has rows
  const int64_t* turn;         // [E] which
  View<float, 2> d_slots;
  const KernelTable& kernels;

  int64_t d() const { return task.d_out.cols; }
  int64_t ff() const { return task.acts.kept_gate.shape[1]; }
  int64_t Count(int64_t e) const { return plan.offset[e + 1] - plan.offset[e]; }
};

/// d_slots of a block of slots, and its part of the operands of its expert.
void GradBlock(const GradPass& pass, const Block& block, const BackwardScratch& s) {
  const int64_t d = pass.d(), ff = pass.ff(), tile = block.from / kTileDepth * kTileValues;
  const int64_t turned_tiles = CeilDiv(pass.Count(block.expert), kTileDepth);
  const int64_t ff_tiles = CeilDiv(ff, kTileDepth);
  const WeightOperands& operands = pass.operands[pass.turn[block.expert]];
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
         .out = out,
         .panel_tiles = turned ? turned_tiles : CeilDiv(d, kTileDepth)});
  };
  pack(pass.task.d_out, false, false, s.d_out);
  pack(pass.task.d_out, true, false, operands.d_out + tile);
  pack(pass.task.x, true, true, operands.x + tile);

  const ExpertTiles& w = pass.tiles[block.expert];
  float* d_weight = pass.d_slot_weight + block.first;
  std::fill_n(d_weight, block.rows, 0.0f);
  for (int64_t col = 0; col < ff; col += kStretch) {
    const int64_t cols = std::min(kStretch, ff - col);
    const int64_t turned = col / kTileOutputs * turned_tiles * kTileValues + tile;
    uint16_t* d_gate = s.d_hidden_inputs + col / kTileDepth * kTileValues;
    MultiplyBlock(s.d_out, w.w2.Part(col, cols), Stretch(s.d_hidden, block.rows, cols),
                  Into::kWrite, pass.kernels);
    pass.kernels.swiglu_grad_tiles->swiglu_grad_tiles(
        {.kept_gate = pass.task.acts.kept_gate[block.first].data + col,
         .kept_up = pass.task.acts.kept_up[block.first].data + col,
         .kept_stride = ff,
         .d_hidden = s.d_hidden,
         .stride = kStretchStride,
         .rows = block.rows,
         .cols = cols,
         .weight = pass.slot_weight + block.first,
         .d_weight = s.d_weight,
         .d_gate = d_gate,
         .d_up = d_gate + ff_tiles * kTileValues,
         .panel_tiles = 2 * ff_tiles,
         .d_gate_turned = operands.d_gate + turned,
         .d_up_turned = operands.d_up + turned,
         .hidden_turned = operands.hidden + turned,
         .turned_panel_tiles = turned_tiles});
    for (int64_t r = 0; r < block.rows; ++r) d_weight[r] += s.d_weight[r];
  }
  MultiplyBlock(s.d_hidden_inputs, w.w1, w.w3, pass.d_slots.Rows(block.first, block.rows),
                pass.kernels);
}

void Zero(const ExpertGrads& grads, Context& context) {
  for (const View<float, 2>& w : {grads.w1, grads.w3, grads.w2}) {
    if (w.data == nullptr) continue;
    ForEachRow(w.shape[0], w.shape[1], context,
               [&](int64_t r) { std::fill_n(w[r].data, w.shape[1], 0.0f); });
  }
}

/// The products that are the gradients of expert e's weights; `products` has room for three.
std::span<const TileProductTask> GradProducts(const GradPass& pass, int64_t e,
                                              TileProductTask* products) {
  const ExpertGrads& grads = pass.task.grads[static_cast<size_t>(e)];
  const WeightOperands& o = pass.operands[pass.turn[e]];
  const int64_t count = pass.Count(e);
  const TileOperand x{o.x, pass.d(), count}, d_out{o.d_out, pass.d(), count};
  const TileOperand hidden{o.hidden, pass.ff(), count};
  const TileOperand d_gate{o.d_gate, pass.ff(), count}, d_up{o.d_up, pass.ff(), count};
  size_t n = 0;
  const auto add = [&](const TileOperand& a, const TileOperand& b, View<float, 2> c) {
    if (c.data != nullptr) products[n++] = {a, b, c, !pass.task.begins, true};
  };
  add(d_gate, x, grads.w1);
  add(d_up, x, grads.w3);
  add(d_out, hidden, grads.w2);
  return {products, n};
}

/// Expert after expert, so that what the products of its weights read is still in the last cache;
/// beside the blocks of the next one, so that nobody waits.
void GradExperts(const GradPass& pass, std::span<const Block> blocks,
                 const BackwardScratch* scratch, Context& context) {
  const auto experts = static_cast<int64_t>(pass.task.experts.size());
  TileProductTask room[3];
  std::span<const TileProductTask> products;  // of the expert before
  for (int64_t e = 0; e <= experts; ++e) {
    const int64_t count = e < experts ? pass.Count(e) : 0;
    if (e < experts && count == 0) {
      if (pass.task.begins) Zero(pass.task.grads[static_cast<size_t>(e)], context);
      continue;
    }
    size_t own = 0;
    while (own < blocks.size() && blocks[own].expert == e) ++own;
    const Arena::Scope scope(context.scratch);
    const TilePieces pieces(products, context.pool.threads(), context.scratch);
    const auto n = static_cast<int64_t>(own);
    context.pool.ParallelFor(n + pieces.count(), [&](int64_t i, int worker) {
      if (i < n) {
        GradBlock(pass, blocks[static_cast<size_t>(i)], scratch[worker]);
      } else {
        pieces.Multiply(i - n, worker, pass.kernels);
      }
    });
    blocks = blocks.subspan(own);
    if (e < experts) products = GradProducts(pass, e, room);
  }
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
  int64_t most = 0;
  auto* turn = arena.Allocate<int64_t>(experts);
  for (int64_t e = 0, next = 0; e < experts; ++e) {
    const int64_t count = plan.offset[e + 1] - plan.offset[e];
    most = std::max(most, count);
    turn[e] = next;
    if (count > 0) next = 1 - next;
  }
  const auto turned = [&](int64_t cols) {
    return arena.Allocate<uint16_t>(TurnedValues(cols, most));
  };
  const auto operands = [&]() -> WeightOperands {
    return {turned(d), turned(d), turned(ff), turned(ff), turned(ff)};
  };
  const GradPass pass{task,
                      plan,
                      slot_weight,
                      d_slot_weight,
                      Operands(task.experts, plan, true, context),
                      {operands(), operands()},
                      turn,
                      d_slots,
                      context.kernels};
  auto* scratch = arena.Allocate<BackwardScratch>(context.pool.threads());
  for (int w = 0; w < context.pool.threads(); ++w) {
    scratch[w] = {arena.Allocate<uint16_t>(TileOperand::Values(kBlockRows, d)),
                  arena.Allocate<uint16_t>(2 * TileOperand::Values(kBlockRows, ff)),
                  arena.Allocate<float>(kBlockRows * kStretchStride),
                  arena.Allocate<float>(kBlockRows)};
  }
  GradExperts(pass, MakeBlocks(plan, experts, arena), scratch, context);
  for (int64_t t = 0; t < plan.slot_of.shape[0]; ++t) {
    for (int64_t j = 0; j < plan.slot_of.shape[1]; ++j) {
      const int64_t slot = plan.slot_of[t][j];
      d_weights[t][j] = slot < 0 ? 0 : d_slot_weight[slot];
    }
  }
}

}  // namespace octet
