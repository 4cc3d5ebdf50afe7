#include "model/layer_grad.h"

#include <algorithm>

#include "model/tile_layer.h"
#include "model/tile_layer_grad.h"
#include "ops/attention_grad.h"
#include "ops/expert_plan.h"
#include "ops/linear_grad.h"
#include "ops/rms_norm.h"
#include "ops/rms_norm_grad.h"
#include "ops/rope_grad.h"
#include "ops/route_grad.h"
#include "ops/router_grad.h"
#include "ops/rows.h"

namespace octet {
namespace {

/// From d_weights of the gates to the router's weights, and on into d_x (added).
void RouterBackward(const LayerGradTask& task, View<const float, 2> d_weights, View<float, 2> d_x,
                    Context& context) {
  const LayerActs& acts = task.acts;
  auto d_logits =
      context.scratch.Matrix<float>(acts.router_logits.shape[0], acts.router_logits.shape[1]);
  std::fill_n(d_logits.data, d_logits.size(), 0.0f);
  RouteGrad({acts.experts, acts.gate_weights, d_weights, d_logits}, context);
  if (task.router != nullptr) {
    RouterLossGrad({task.router->statistics, task.router->options, task.router->scale,
                    task.step.layer, acts.router_logits, d_logits},
                   context);
  }
  if (CanGradRouter(task.weights.router)) {
    RouterGrad({&task.weights.router, acts.ffn_in, d_logits, d_x, task.grads.router}, context);
    return;
  }
  // In float, as its forward is.
  Context exact{context.pool, context.kernels, context.scratch, Arithmetic::kFloat32};
  const LinearGradWeightTask weight{acts.ffn_in, d_logits, task.grads.router, &task.weights.router,
                                    task.grads.adapter_router};
  LinearGradWeight({&weight, 1}, exact);
  const LinearGradInputTask input{&task.weights.router, d_logits, d_x, true};
  LinearGradInput({&input, 1}, exact);
}

void FeedForwardBackward(const LayerGradTask& task, View<float, 2> d_h, Context& context) {
  const Arena::Scope scope(context.scratch);
  const ModelConfig& c = task.step.config;
  const LayerActs& acts = task.acts;
  const int64_t rows = d_h.shape[0];
  auto d_x = context.scratch.Matrix<float>(rows, c.d_model);
  const View<float, 2> d_out = OfBranch(task.step, Branch::kFeedForward, d_h, context);
  const ExpertFfnGradTask ffn{task.weights.experts, acts.expert, d_out, d_x,
                              task.grads.experts,   acts.ffn_in};
  if (c.is_moe()) {
    auto d_weights = context.scratch.Matrix<float>(rows, c.n_experts_per_token);
    const ExpertPlan plan = MakeExpertPlan(acts.experts, acts.gate_weights, c.n_experts,
                                           context.scratch, acts.capacity);
    ExpertFfnGrad(ffn, plan, d_weights, context);
    RouterBackward(task, d_weights, d_x, context);
  } else {
    DenseFfnGrad(ffn, acts.ffn_in, context);
  }
  // The residual stream between the two halves, with the bits it had.
  auto h_mid = context.scratch.Matrix<float>(rows, c.d_model);
  ForEachRow(rows, c.d_model, context,
             [&](int64_t t) { std::copy_n(task.h[t].data, c.d_model, h_mid[t].data); });
  AddInPlace(h_mid, acts.attn_out, context);
  RmsNormGrad({h_mid, task.weights.ffn_norm, c.norm_eps, d_x, d_h, task.grads.ffn_norm}, context);
}

void AttentionBackward(const LayerGradTask& task, View<float, 2> d_h, Context& context) {
  const Arena::Scope scope(context.scratch);
  const ModelConfig& c = task.step.config;
  const LayerActs& acts = task.acts;
  const LayerWeights& w = task.weights;
  const int64_t rows = d_h.shape[0];
  auto d_attn = context.scratch.Matrix<float>(rows, c.q_dim());
  const View<float, 2> d_out = OfBranch(task.step, Branch::kAttention, d_h, context);
  const LinearGradWeightTask wo{acts.attn, d_out, task.grads.wo, &w.wo, task.grads.adapter_o};
  LinearGradWeight({&wo, 1}, context);
  const LinearGradInputTask through_wo{&w.wo, d_out, d_attn};
  LinearGradInput({&through_wo, 1}, context);

  auto d_q = context.scratch.Matrix<float>(rows, c.q_dim());
  auto d_k = context.scratch.Matrix<float>(rows, c.kv_dim());
  auto d_v = context.scratch.Matrix<float>(rows, c.kv_dim());
  AttentionGrad({acts.q, acts.k, acts.v, acts.attn, acts.log_sum, d_attn, d_q, d_k, d_v},
                {c.n_heads, c.n_kv_heads, c.head_dim, c.sliding_window}, task.segments, context);
  RopeGrad(d_q, task.step.rope, c.rope_pairing, context);
  RopeGrad(d_k, task.step.rope, c.rope_pairing, context);

  const LinearGradWeightTask qkv[] = {
      {acts.attn_in, d_q, task.grads.wq, &w.wq, task.grads.adapter_q},
      {acts.attn_in, d_k, task.grads.wk, &w.wk, task.grads.adapter_k},
      {acts.attn_in, d_v, task.grads.wv, &w.wv, task.grads.adapter_v}};
  LinearGradWeight(qkv, context);
  auto d_x = context.scratch.Matrix<float>(rows, c.d_model);
  // One after another: they add to the same rows.
  for (const LinearGradInputTask& input :
       {LinearGradInputTask{&w.wq, d_q, d_x, false}, LinearGradInputTask{&w.wk, d_k, d_x, true},
        LinearGradInputTask{&w.wv, d_v, d_x, true}}) {
    LinearGradInput({&input, 1}, context);
  }
  RmsNormGrad({task.h, w.attn_norm, c.norm_eps, d_x, d_h, task.grads.attn_norm}, context);
}

void Zero(View<float, 2> x, Context& context) {
  if (x.data == nullptr) return;
  ForEachRow(x.shape[0], x.shape[1], context,
             [&](int64_t t) { std::fill_n(x[t].data, x.shape[1], 0.0f); });
}
void Zero(View<float, 1> x) { std::fill_n(x.data, x.data == nullptr ? 0 : x.size(), 0.0f); }

/// What the layer adds to; `all`: the matrices too, which TileLayerBackward writes.
void BeginGradients(const LayerGradients& grads, bool all, Context& context) {
  Zero(grads.attn_norm);
  Zero(grads.ffn_norm);
  Zero(grads.router, context);
  if (!all) return;
  for (const View<float, 2>& w : {grads.wq, grads.wk, grads.wv, grads.wo}) Zero(w, context);
  for (const ExpertGrads& expert : grads.experts) {
    for (const View<float, 2>& w : {expert.w1, expert.w3, expert.w2}) Zero(w, context);
  }
}

}  // namespace

View<float, 2> OfBranch(const StepInput& step, Branch branch, View<float, 2> d_h,
                        Context& context) {
  if (step.dropout == nullptr) return d_h;
  const auto d_out = context.scratch.Matrix<float>(d_h.shape[0], d_h.shape[1]);
  ForEachRow(d_h.shape[0], d_h.shape[1], context, [&](int64_t t) {
    std::copy_n(d_h[t].data, d_h.shape[1], d_out[t].data);
    DropRow(*step.dropout, {step.layer, branch}, t, d_out[t].data, d_h.shape[1]);
  });
  return d_out;
}

void LayerBackward(const LayerGradTask& task, View<float, 2> d_h, Context& context) {
  const bool tiled = CanTileLayer(task.weights, task.segments, task.acts, context);
  if (task.begins) BeginGradients(task.grads, !tiled, context);
  if (tiled) return TileLayerBackward(task, d_h, context);
  FeedForwardBackward(task, d_h, context);
  AttentionBackward(task, d_h, context);
}

}  // namespace octet
