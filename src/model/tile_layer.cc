#include "model/tile_layer.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "ops/route.h"
#include "ops/router_grad.h"
#include "ops/rows.h"
#include "ops/tile_attention.h"
#include "ops/tile_ffn.h"

namespace octet {
namespace {

/// Memory of one worker.
struct Scratch {
  float *x, *q, *k, *v;  // [kLayerBlockRows, …]
  uint16_t* tiles;
  float* kernel;
};

struct Pass {
  const StepInput& step;
  const LayerWeights& weights;
  const LayerActs& acts;
  View<const float, 2> h;
  TileOperand wq, wk, wv, wo;
  const KernelDescriptor* router;  // nullptr: dense
  const KernelTable& kernels;

  int64_t rows() const { return h.shape[0]; }
};

/// Rows [first, first + count).
struct Block {
  int64_t first, count;
};

Scratch MakeScratch(const Pass& pass, Arena& arena) {
  const ModelConfig& c = pass.step.config;
  const int64_t widest = std::max(c.d_model, c.q_dim());
  const auto rows = [&](int64_t cols) { return arena.Allocate<float>(kLayerBlockRows * cols); };
  return {rows(c.d_model),
          rows(c.q_dim()),
          rows(c.kv_dim()),
          rows(c.kv_dim()),
          arena.Allocate<uint16_t>(TileOperand::Values(kLayerBlockRows, widest)),
          arena.Allocate<float>(pass.router == nullptr ? 0 : pass.router->scratch_floats)};
}

/// Turns the heads of a block's rows, and scales them.
void Turn(const Pass& pass, const Block& block, View<float, 2> x, float scale) {
  const RopeTable& rope = pass.step.rope;
  const int64_t half = rope.cos.shape[1], heads = x.shape[1] / (2 * half);
  const bool interleaved = pass.step.config.rope_pairing == RopePairing::kInterleaved;
  for (int64_t r = 0; r < block.count; ++r) {
    const int64_t t = block.first + r;
    float* row = x[r].data;
    pass.kernels.rope->rope({row, rope.cos[t].data, rope.sin[t].data, heads, half, interleaved});
    const float* own = row;
    if (scale != 1.0f) pass.kernels.sum->sum({row, false, &own, &scale, 1, x.shape[1]});
  }
}

void Round(View<const float, 2> x, const Block& block, View<uint16_t, 2> out,
           const KernelTable& kernels) {
  kernels.round_rows->round_rows(
      {x.data, x.stride[0], block.count, x.shape[1], out[block.first].data, out.stride[0]});
}

/// From the residual stream to queries, keys and values.
void AttentionInput(const Pass& pass, const Block& block, const Scratch& s) {
  const ModelConfig& c = pass.step.config;
  const TileActs& kept = pass.acts.tiles;
  const auto x = MakeView(s.x, block.count, c.d_model);
  for (int64_t r = 0; r < block.count; ++r) {
    pass.kernels.norm->norm({pass.h[block.first + r].data, nullptr, nullptr,
                             pass.weights.attn_norm.data, c.norm_eps, x[r].data, c.d_model});
  }
  PackBlock(x, false, s.tiles, pass.kernels);
  PackTurnedBlock(x, {true, kept.attn_in, block.first, pass.rows()}, pass.kernels);
  const auto q = MakeView(s.q, block.count, c.q_dim());
  const auto k = MakeView(s.k, block.count, c.kv_dim());
  const auto v = MakeView(s.v, block.count, c.kv_dim());
  MultiplyBlock(s.tiles, pass.wq, q, Into::kWrite, pass.kernels);
  MultiplyBlock(s.tiles, pass.wk, k, Into::kWrite, pass.kernels);
  MultiplyBlock(s.tiles, pass.wv, v, Into::kWrite, pass.kernels);
  Turn(pass, block, q, static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.head_dim))));
  Turn(pass, block, k, 1);
  Round(q, block, kept.q, pass.kernels);
  Round(k, block, kept.k, pass.kernels);
  Round(v, block, kept.v, pass.kernels);
}

/// From attention's output to the feed-forward's input and the router's logits.
void FeedForwardInput(const Pass& pass, const Block& block, const Scratch& s) {
  const ModelConfig& c = pass.step.config;
  const TileActs& kept = pass.acts.tiles;
  PackBlock(pass.acts.attn.Rows(block.first, block.count), false, s.tiles, pass.kernels);
  const auto x = MakeView(s.x, block.count, c.d_model);
  MultiplyBlock(s.tiles, pass.wo, x, Into::kWrite, pass.kernels);
  for (int64_t r = 0; r < block.count; ++r) {
    const int64_t t = block.first + r;
    if (pass.step.dropout != nullptr)
      DropRow(*pass.step.dropout, {pass.step.layer, Branch::kAttention}, t, x[r].data, c.d_model);
    pass.kernels.norm->norm({pass.h[t].data, x[r].data, kept.h_mid[t].data,
                             pass.weights.ffn_norm.data, c.norm_eps, x[r].data, c.d_model});
  }
  Round(x, block, kept.ffn_in, pass.kernels);
  if (pass.router == nullptr) return;
  const WeightMatrix& w = pass.weights.router;
  pass.router->matmul({.w = w.data,
                       .w_row_bytes = w.row_bytes(),
                       .rows = w.rows,
                       .cols = w.cols,
                       .x = x.data,
                       .x_stride = x.stride[0],
                       .y = pass.acts.router_logits[block.first].data,
                       .y_stride = pass.acts.router_logits.stride[0],
                       .tokens = block.count,
                       .decode = Info(w.format).decode,
                       .scratch = s.kernel});
}

/// h = h_mid + Σ_j weight · y of every row's choices.
void Combine(const Pass& pass, const ExpertPlan& plan, View<const float, 2> y, View<float, 2> h,
             Context& context) {
  const int64_t d = h.shape[1], k = plan.slot_of.shape[1];
  const Arena::Scope scope(context.scratch);
  auto* rows = context.scratch.Allocate<const float*>(h.shape[0] * (k + 1));
  auto* weights = context.scratch.Allocate<float>(h.shape[0] * (k + 1));
  ForEachRow(h.shape[0], d * (k + 2), context, [&](int64_t t) {
    const float** of_row = rows + t * (k + 1);
    float* weight = weights + t * (k + 1);
    of_row[0] = pass.acts.tiles.h_mid[t].data;
    weight[0] = 1;
    int64_t n = 1;
    for (int64_t j = 0; j < k; ++j) {
      if (plan.slot_of[t][j] < 0) continue;
      of_row[n] = y[plan.slot_of[t][j]].data;
      weight[n++] = plan.weight[t][j];
    }
    if (pass.step.dropout == nullptr || n == 1) {
      context.kernels.sum->sum({h[t].data, false, of_row, weight, n, d});
      return;
    }
    context.kernels.sum->sum({h[t].data, false, of_row + 1, weight + 1, n - 1, d});
    DropRow(*pass.step.dropout, {pass.step.layer, Branch::kFeedForward}, t, h[t].data, d);
    context.kernels.sum->sum({h[t].data, true, of_row, weight, 1, d});
  });
}

bool IsPlain(const WeightMatrix& w) { return w.adapter == nullptr; }

}  // namespace

bool CanTileLayer(const LayerWeights& w, std::span<const AttentionSegment> segments,
                  const LayerActs& acts, const Context& context) {
  if (context.arithmetic != Arithmetic::kBf16 || acts.tiles.attn_in == nullptr) return false;
  const bool plain = IsPlain(w.wq) && IsPlain(w.wk) && IsPlain(w.wv) && IsPlain(w.wo);
  const bool routed = w.router.data == nullptr || CanGradRouter(w.router);
  return plain && routed && CanTileFfn(w.experts, acts.expert, context) &&
         CanTileAttention(segments);
}

ExpertPlan MakeLayerPlan(const ModelConfig& config, const LayerActs& acts, int64_t rows,
                         Arena& arena) {
  if (config.is_moe())
    return MakeExpertPlan(acts.experts, acts.gate_weights, config.n_experts, arena, acts.capacity);
  auto* all = arena.Allocate<int32_t>(rows);
  auto* offset = arena.Allocate<int32_t>(2);
  auto* weight = arena.Allocate<float>(rows);
  for (int64_t t = 0; t < rows; ++t) all[t] = static_cast<int32_t>(t);
  std::fill_n(weight, rows, 1.0f);
  offset[0] = 0;
  offset[1] = static_cast<int32_t>(rows);
  return {MakeView<const int32_t>(offset, 2), MakeView<const int32_t>(all, rows),
          MakeView<const int32_t>(all, rows, 1), MakeView<const float>(weight, rows, 1)};
}

void TileLayerForward(const StepInput& step, const LayerWeights& weights,
                      std::span<const AttentionSegment> segments, View<float, 2> h, LayerActs& acts,
                      Context& context) {
  const Arena::Scope scope(context.scratch);
  Arena& arena = context.scratch;
  const ModelConfig& c = step.config;
  const int64_t rows = h.shape[0], blocks = (rows + kLayerBlockRows - 1) / kLayerBlockRows;
  const KernelDescriptor* router =
      c.is_moe() ? context.kernels.Matmul(weights.router.format, weights.router.layout,
                                          Arithmetic::kFloat32, kLayerBlockRows)
                 : nullptr;
  const Pass pass{step,
                  weights,
                  acts,
                  h,
                  WeightOperand(weights.wq, false, context),
                  WeightOperand(weights.wk, false, context),
                  WeightOperand(weights.wv, false, context),
                  WeightOperand(weights.wo, false, context),
                  router,
                  context.kernels};
  auto* scratch = arena.Allocate<Scratch>(context.pool.threads());
  for (int w = 0; w < context.pool.threads(); ++w) scratch[w] = MakeScratch(pass, arena);
  const auto block_at = [&](int64_t i) {
    return Block{i * kLayerBlockRows, std::min(kLayerBlockRows, rows - i * kLayerBlockRows)};
  };
  context.pool.ParallelFor(
      blocks, [&](int64_t i, int worker) { AttentionInput(pass, block_at(i), scratch[worker]); });
  const TileActs& kept = acts.tiles;
  TileAttention({kept.q, kept.k, kept.v, acts.attn, acts.log_sum},
                {c.n_heads, c.n_kv_heads, c.head_dim, c.sliding_window}, segments, context);
  context.pool.ParallelFor(
      blocks, [&](int64_t i, int worker) { FeedForwardInput(pass, block_at(i), scratch[worker]); });
  if (c.is_moe())
    Route(acts.router_logits, weights.router_bias, acts.experts, acts.gate_weights, context);
  const ExpertPlan plan = MakeLayerPlan(c, acts, rows, arena);
  const auto y = arena.Matrix<float>(plan.row_of_slot.shape[0], c.d_model);
  TileFfn(kept.ffn_in, weights.experts, plan, acts.expert, y, context);
  Combine(pass, plan, y, h, context);
}

}  // namespace octet
