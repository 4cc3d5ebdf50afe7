#include "model/tile_layer_grad.h"

#include <algorithm>

#include "model/tile_layer.h"
#include "ops/route_grad.h"
#include "ops/tile_attention.h"
#include "ops/tile_ffn.h"

namespace octet {
namespace {

/// Memory of one worker.
struct Scratch {
  float *x, *d_x, *d_attn;  // [kLayerBlockRows, …]
  uint16_t* tiles;
  float* sin;          // of one row
  const float** rows;  // of the choices of one row
  float* ones;
};

/// Operands of the gradients of wq, wk, wv and wo, of all rows and turned.
struct WeightOperands {
  uint16_t *d_out, *attn;     // by d_model; pairs, by q_dim
  uint16_t *d_q, *d_k, *d_v;  // what meets them is TileActs::attn_in
};

/// Each block's share of the gradients of what all rows meet, to be added in order.
struct Shares {
  float *attn_norm, *ffn_norm, *router;  // [blocks, …], or nullptr: frozen
};

struct Pass {
  const LayerGradTask& task;
  View<float, 2> d_h;
  const ExpertPlan& plan;
  View<const float, 2> d_slots, d_logits;
  TileOperand wq, wk, wv, wo;  // by columns
  WeightOperands operands;
  View<uint16_t, 2> d_attn;
  View<float, 2> delta, d_q, d_k, d_v;
  Shares shares;
  const KernelTable& kernels;

  const ModelConfig& config() const { return task.step.config; }
  int64_t rows() const { return d_h.shape[0]; }
};

/// Rows [first, first + count), number `index`.
struct Block {
  int64_t index, first, count;
};

Scratch MakeScratch(const ModelConfig& c, int64_t choices, Arena& arena) {
  const int64_t widest = std::max(c.d_model, c.q_dim());
  const auto rows = [&](int64_t cols) { return arena.Allocate<float>(kLayerBlockRows * cols); };
  Scratch s = {rows(c.d_model),
               rows(c.d_model),
               rows(c.q_dim()),
               arena.Allocate<uint16_t>(TileOperand::Values(kLayerBlockRows, widest)),
               arena.Allocate<float>(c.head_dim / 2),
               arena.Allocate<const float*>(choices),
               arena.Allocate<float>(choices)};
  std::fill_n(s.ones, choices, 1.0f);
  return s;
}

/// Zeros, `width` floats for every block; nullptr when nothing is trained.
float* MakeShare(const float* trained, int64_t blocks, int64_t width, Arena& arena) {
  if (trained == nullptr) return nullptr;
  auto* share = arena.Allocate<float>(blocks * width);
  std::fill_n(share, blocks * width, 0.0f);
  return share;
}

void AddShares(const float* share, int64_t blocks, View<float, 1> sum, const KernelTable& kernels) {
  const float one = 1;
  for (int64_t i = 0; share != nullptr && i < blocks; ++i) {
    const float* part = share + i * sum.shape[0];
    kernels.sum->sum({sum.data, true, &part, &one, 1, sum.shape[0]});
  }
}

/// Through the norm whose input was x: d_h += what comes of s.d_x.
void NormBackward(const Pass& pass, const Block& block, View<const float, 2> x,
                  View<const float, 1> weight, float* share, const Scratch& s) {
  const int64_t d = pass.config().d_model;
  float* own = share == nullptr ? nullptr : share + block.index * d;
  for (int64_t r = 0; r < block.count; ++r) {
    const int64_t t = block.first + r;
    pass.kernels.rms_norm_grad->rms_norm_grad(
        {x[t].data, weight.data, s.d_x + r * d, d, pass.config().norm_eps, pass.d_h[t].data, own});
  }
}

/// From the slots' gradients through the router and the norm.
void FeedForwardBackward(const Pass& pass, const Block& block, const Scratch& s) {
  const ModelConfig& c = pass.config();
  const int64_t d = c.d_model, k = pass.plan.slot_of.shape[1];
  const View<const float, 2> h_mid = pass.task.acts.tiles.h_mid;
  for (int64_t r = 0; r < block.count; ++r) {
    const int64_t t = block.first + r;
    int64_t n = 0;
    for (int64_t j = 0; j < k; ++j) {
      if (pass.plan.slot_of[t][j] >= 0) s.rows[n++] = pass.d_slots[pass.plan.slot_of[t][j]].data;
    }
    if (n == 0) {
      std::fill_n(s.d_x + r * d, d, 0.0f);
    } else {
      pass.kernels.sum->sum({s.d_x + r * d, false, s.rows, s.ones, n, d});
    }
  }
  const LayerWeights& weights = pass.task.weights;
  if (c.is_moe()) {
    for (int64_t r = 0; r < block.count; ++r) {
      pass.kernels.norm->norm({h_mid[block.first + r].data, nullptr, nullptr, weights.ffn_norm.data,
                               c.norm_eps, s.x + r * d, d});
    }
    float* share = pass.shares.router;
    pass.kernels.router_grad->router_grad(
        {.d_logits = pass.d_logits[block.first].data,
         .w = reinterpret_cast<const float*>(weights.router.data),
         .x = s.x,
         .x_stride = d,
         .d_x = s.d_x,
         .d_x_stride = d,
         .d_w = share == nullptr ? nullptr : share + block.index * c.n_experts * d,
         .rows = block.count,
         .experts = c.n_experts,
         .n = d});
  }
  NormBackward(pass, block, h_mid, weights.ffn_norm, pass.shares.ffn_norm, s);
}

/// The gradient by what attention put out: d_h's rows, or with dropout s.x.
View<const float, 2> OfAttention(const Pass& pass, const Block& block, const Scratch& s) {
  const View<float, 2> d_h = pass.d_h.Rows(block.first, block.count);
  if (pass.task.step.dropout == nullptr) return d_h;
  const int64_t d = pass.config().d_model;
  const auto d_out = MakeView(s.x, block.count, d);
  for (int64_t r = 0; r < block.count; ++r) {
    std::copy_n(d_h[r].data, d, d_out[r].data);
    DropRow(*pass.task.step.dropout, {pass.task.step.layer, Branch::kAttention}, block.first + r,
            d_out[r].data, d);
  }
  return d_out;
}

/// Through wo, to what attention's gradient reads.
void OutputBackward(const Pass& pass, const Block& block, const Scratch& s) {
  const ModelConfig& c = pass.config();
  const View<const float, 2> d_h = OfAttention(pass, block, s);
  const View<const float, 2> attn = pass.task.acts.attn.Rows(block.first, block.count);
  PackBlock(d_h, false, s.tiles, pass.kernels);
  PackTurnedBlock(d_h, {false, pass.operands.d_out, block.first, pass.rows()}, pass.kernels);
  PackTurnedBlock(attn, {true, pass.operands.attn, block.first, pass.rows()}, pass.kernels);
  const auto d_attn = MakeView(s.d_attn, block.count, c.q_dim());
  MultiplyBlock(s.tiles, pass.wo, d_attn, Into::kWrite, pass.kernels);
  for (int64_t r = 0; r < block.count; ++r) {
    for (int64_t h = 0; h < c.n_heads; ++h) {
      const int64_t at = h * c.head_dim;
      double sum = 0;
      pass.kernels.dot->dot({d_attn[r].data + at, attn[r].data + at, c.head_dim, &sum});
      pass.delta[block.first + r][h] = static_cast<float>(sum);
    }
  }
  pass.kernels.round_rows->round_rows({d_attn.data, d_attn.stride[0], block.count, c.q_dim(),
                                       pass.d_attn[block.first].data, pass.d_attn.stride[0]});
}

/// Turns a block's rows back, packs them both ways and goes through their map.
void MapBackward(const Pass& pass, const Block& block, View<float, 2> d_y, const TileOperand& w,
                 uint16_t* operand, Into into, const Scratch& s) {
  const View<float, 2> rows = d_y.Rows(block.first, block.count);
  PackBlock(rows, false, s.tiles, pass.kernels);
  PackTurnedBlock(rows, {false, operand, block.first, pass.rows()}, pass.kernels);
  MultiplyBlock(s.tiles, w, MakeView(s.d_x, block.count, pass.config().d_model), into,
                pass.kernels);
}

void TurnBack(const Pass& pass, const Block& block, const Scratch& s) {
  const RopeTable& rope = pass.task.step.rope;
  const int64_t half = rope.cos.shape[1];
  const bool interleaved = pass.config().rope_pairing == RopePairing::kInterleaved;
  for (int64_t t = block.first; t < block.first + block.count; ++t) {
    for (int64_t i = 0; i < half; ++i) s.sin[i] = -rope.sin[t][i];
    const float* cos = rope.cos[t].data;
    pass.kernels.rope->rope(
        {pass.d_q[t].data, cos, s.sin, pass.config().n_heads, half, interleaved});
    pass.kernels.rope->rope(
        {pass.d_k[t].data, cos, s.sin, pass.config().n_kv_heads, half, interleaved});
  }
}

/// From the gradients of queries, keys and values to the layer's input.
void InputBackward(const Pass& pass, const Block& block, const Scratch& s) {
  TurnBack(pass, block, s);
  MapBackward(pass, block, pass.d_q, pass.wq, pass.operands.d_q, Into::kWrite, s);
  MapBackward(pass, block, pass.d_k, pass.wk, pass.operands.d_k, Into::kAdd, s);
  MapBackward(pass, block, pass.d_v, pass.wv, pass.operands.d_v, Into::kAdd, s);
  NormBackward(pass, block, pass.task.h, pass.task.weights.attn_norm, pass.shares.attn_norm, s);
}

void GradWeights(const Pass& pass, Context& context) {
  const ModelConfig& c = pass.config();
  const LayerGradients& grads = pass.task.grads;
  const int64_t rows = pass.rows();
  const bool add = !pass.task.begins;
  const TileOperand attn_in{pass.task.acts.tiles.attn_in, c.d_model, rows};
  const auto product = [&](const uint16_t* a, const TileOperand& b, View<float, 2> c) {
    return TileProductTask{{a, c.shape[0], rows}, b, c, add, true};
  };
  const TileOperand attn{pass.operands.attn, c.q_dim(), rows};
  const TileProductTask all[] = {
      product(pass.operands.d_q, attn_in, grads.wq), product(pass.operands.d_out, attn, grads.wo),
      product(pass.operands.d_k, attn_in, grads.wk), product(pass.operands.d_v, attn_in, grads.wv)};
  TileProductTask trained[4];
  size_t n = 0;
  for (const TileProductTask& task : all) {
    if (task.c.data != nullptr) trained[n++] = task;
  }
  MultiplyTiles({trained, n}, context);
}

/// d_slots and d_logits, from the feed-forward and its router.
void ExpertsBackward(const LayerGradTask& task, View<float, 2> d_h, const ExpertPlan& plan,
                     View<float, 2> d_slots, View<float, 2> d_logits, Context& context) {
  const Arena::Scope scope(context.scratch);
  const LayerActs& acts = task.acts;
  auto d_weights = context.scratch.Matrix<float>(plan.slot_of.shape[0], plan.slot_of.shape[1]);
  const View<float, 2> d_out = OfBranch(task.step, Branch::kFeedForward, d_h, context);
  TileFfnGrad({task.weights.experts, acts.expert, acts.tiles.ffn_in, d_out, task.grads.experts,
               task.begins},
              plan, d_weights, d_slots, context);
  if (!task.step.config.is_moe()) return;
  std::fill_n(d_logits.data, d_logits.size(), 0.0f);
  RouteGrad({acts.experts, acts.gate_weights, d_weights, d_logits}, context);
  if (task.router == nullptr) return;
  RouterLossGrad({task.router->statistics, task.router->options, task.router->scale,
                  task.step.layer, acts.router_logits, d_logits},
                 context);
}

}  // namespace

void TileLayerBackward(const LayerGradTask& task, View<float, 2> d_h, Context& context) {
  const Arena::Scope scope(context.scratch);
  Arena& arena = context.scratch;
  const ModelConfig& c = task.step.config;
  const LayerActs& acts = task.acts;
  const LayerWeights& w = task.weights;
  const LayerGradients& grads = task.grads;
  const int64_t rows = d_h.shape[0], blocks = (rows + kLayerBlockRows - 1) / kLayerBlockRows;
  const ExpertPlan plan = MakeLayerPlan(c, acts, rows, arena);
  const auto d_slots = arena.Matrix<float>(plan.row_of_slot.shape[0], c.d_model);
  const auto d_logits = arena.Matrix<float>(rows, c.n_experts);
  ExpertsBackward(task, d_h, plan, d_slots, d_logits, context);

  const auto turned = [&](int64_t cols) {
    return arena.Allocate<uint16_t>(TileOperand::Values(cols, rows));
  };
  const Pass pass{task,
                  d_h,
                  plan,
                  d_slots,
                  d_logits,
                  WeightOperand(w.wq, true, context),
                  WeightOperand(w.wk, true, context),
                  WeightOperand(w.wv, true, context),
                  WeightOperand(w.wo, true, context),
                  {turned(c.d_model), turned(c.q_dim()), turned(c.q_dim()), turned(c.kv_dim()),
                   turned(c.kv_dim())},
                  arena.Matrix<uint16_t>(rows, c.q_dim()),
                  arena.Matrix<float>(rows, c.n_heads),
                  arena.Matrix<float>(rows, c.q_dim()),
                  arena.Matrix<float>(rows, c.kv_dim()),
                  arena.Matrix<float>(rows, c.kv_dim()),
                  {MakeShare(grads.attn_norm.data, blocks, c.d_model, arena),
                   MakeShare(grads.ffn_norm.data, blocks, c.d_model, arena),
                   MakeShare(grads.router.data, blocks, c.n_experts * c.d_model, arena)},
                  context.kernels};
  auto* scratch = arena.Allocate<Scratch>(context.pool.threads());
  for (int i = 0; i < context.pool.threads(); ++i)
    scratch[i] = MakeScratch(c, plan.slot_of.shape[1], arena);
  const auto block_at = [&](int64_t i) {
    return Block{i, i * kLayerBlockRows, std::min(kLayerBlockRows, rows - i * kLayerBlockRows)};
  };
  context.pool.ParallelFor(blocks, [&](int64_t i, int worker) {
    FeedForwardBackward(pass, block_at(i), scratch[worker]);
    OutputBackward(pass, block_at(i), scratch[worker]);
  });
  const TileActs& kept = acts.tiles;
  TileAttentionGrad(
      {kept.q, kept.k, kept.v, pass.d_attn, acts.log_sum, pass.delta, pass.d_q, pass.d_k, pass.d_v},
      {c.n_heads, c.n_kv_heads, c.head_dim, c.sliding_window}, task.segments, context);
  context.pool.ParallelFor(
      blocks, [&](int64_t i, int worker) { InputBackward(pass, block_at(i), scratch[worker]); });
  GradWeights(pass, context);
  AddShares(pass.shares.attn_norm, blocks, grads.attn_norm, context.kernels);
  AddShares(pass.shares.ffn_norm, blocks, grads.ffn_norm, context.kernels);
  AddShares(pass.shares.router, blocks, MakeView(grads.router.data, c.n_experts * c.d_model),
            context.kernels);
}

}  // namespace octet
