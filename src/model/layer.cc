#include "model/layer.h"

#include "model/tile_layer.h"
#include "ops/expert_plan.h"
#include "ops/linear.h"
#include "ops/rms_norm.h"
#include "ops/route.h"
#include "ops/rows.h"

namespace octet {
namespace {

void Observe(const StepInput& step, const char* name, View<const float, 2> value) {
  if (step.observer != nullptr) step.observer->OnActivation(name, step.layer, value);
}

void ObserveInput(const StepInput& step, TensorRole role, View<const float, 2> x) {
  if (step.observer != nullptr) step.observer->OnMatrixInput(role, step.layer, x);
}

/// The rows that ask.
struct Queries {
  View<const float, 2> in;  // of acts.attn_in
  View<float, 2> out;       // [R, q_dim]
  const RopeTable& rope;
  std::span<const int32_t> adapters;
};

/// Queries of some rows; keys and values of all, which go to their pages.
void ProjectQkv(const StepInput& step, const LayerWeights& weights,
                std::span<const AttentionSegment> segments, const Queries& queries, LayerActs& acts,
                Context& context) {
  const LinearTask qkv[] = {{&weights.wq, queries.in, queries.out, queries.adapters},
                            {&weights.wk, acts.attn_in, acts.k, step.adapters},
                            {&weights.wv, acts.attn_in, acts.v, step.adapters}};
  TimedLinear(StepPart::kQkv, qkv, context);
  Rope(queries.out, queries.rope, step.config.rope_pairing, context);
  Rope(acts.k, step.rope, step.config.rope_pairing, context);
  AppendKv(acts.k, acts.v, segments, context);
}

void AttentionForward(const StepInput& step, const LayerWeights& weights,
                      std::span<const AttentionSegment> segments, LayerActs& acts,
                      Context& context) {
  const ModelConfig& c = step.config;
  Attention(acts.q, {c.n_heads, c.n_kv_heads, c.head_dim, c.sliding_window}, segments, acts.attn,
            context, acts.log_sum);
  ObserveInput(step, TensorRole::kWo, acts.attn);
  const LinearTask out{&weights.wo, acts.attn, acts.attn_out, step.adapters};
  TimedLinear(StepPart::kAttentionOut, {&out, 1}, context);
  if (step.dropout != nullptr)
    Drop(*step.dropout, {step.layer, Branch::kAttention}, acts.attn_out, context);
  Observe(step, "attn_out", acts.attn_out);
}

/// This layer's rules for the router [T]; empty where every row goes as the model does.
std::span<const RouteRule> Rules(const StepInput& step, Arena& arena) {
  auto* rules = arena.Allocate<RouteRule>(static_cast<int64_t>(step.controls.size()));
  for (size_t t = 0; t < step.controls.size(); ++t) {
    const ExpertControls* controls = step.controls[t];
    rules[t] = {static_cast<int32_t>(step.config.n_experts_per_token), 0};
    if (controls == nullptr) continue;
    if (controls->top_k > 0) rules[t].k = controls->top_k;
    if (!controls->without.empty())
      rules[t].without = controls->without[static_cast<size_t>(step.layer)];
  }
  return {rules, step.controls.size()};
}

void MoeForward(const StepInput& step, const LayerWeights& weights, LayerActs& acts,
                Context& context) {
  // The router always runs in float: a rounding there can flip an expert.
  Context exact = context;
  exact.arithmetic = Arithmetic::kFloat32;
  ObserveInput(step, TensorRole::kRouter, acts.ffn_in);
  const LinearTask router{&weights.router, acts.ffn_in, acts.router_logits, step.adapters};
  TimedLinear(StepPart::kRouter, {&router, 1}, exact);
  Observe(step, "router_logits", acts.router_logits);
  Arena::Scope scope(context.scratch);
  Route(acts.router_logits, weights.router_bias, acts.experts, acts.gate_weights, context,
        Rules(step, context.scratch));
  if (step.observer != nullptr)
    step.observer->OnRouting(step.layer, acts.experts, acts.gate_weights);

  ExpertPlan plan = MakeExpertPlan(acts.experts, acts.gate_weights, step.config.n_experts,
                                   context.scratch, acts.capacity);
  plan.adapter = BySlot(step.adapters, plan, context.scratch);
  ExpertFfn(acts.ffn_in, weights.experts, plan, acts.expert, acts.ffn_out, context);
  if (step.observer == nullptr) return;
  for (int32_t e = 0; e < step.config.n_experts; ++e) {
    const int64_t first = plan.offset[e], count = plan.offset[e + 1] - first;
    if (count > 0) {
      step.observer->OnExpertInput(step.layer, e, acts.expert.x.Rows(first, count),
                                   acts.expert.hidden.Rows(first, count));
    }
  }
}

/// What follows once keys and values are in their pages.
void AfterKeys(const StepInput& step, const LayerWeights& weights,
               std::span<const AttentionSegment> segments, View<float, 2> h, LayerActs& acts,
               Context& context) {
  AttentionForward(step, weights, segments, acts, context);
  AddAndRmsNorm(h, acts.attn_out, weights.ffn_norm, step.config.norm_eps, acts.ffn_in, context);
  Observe(step, "h_mid", h);
  if (step.config.is_moe()) {
    MoeForward(step, weights, acts, context);
  } else {
    DenseFfn(acts.ffn_in, weights.experts[0], acts.expert, acts.ffn_out, context, step.adapters);
    if (step.observer != nullptr)
      step.observer->OnExpertInput(step.layer, 0, acts.ffn_in, acts.expert.hidden);
  }
  if (step.dropout != nullptr)
    Drop(*step.dropout, {step.layer, Branch::kFeedForward}, acts.ffn_out, context);
  Observe(step, "ffn_out", acts.ffn_out);
  AddInPlace(h, acts.ffn_out, context);
  Observe(step, "layer_out", h);
}

}  // namespace

void LayerForward(const StepInput& step, const LayerWeights& weights,
                  std::span<const AttentionSegment> segments, View<float, 2> h, LayerActs& acts,
                  Context& context) {
  if (step.observer == nullptr && CanTileLayer(weights, segments, acts, context))
    return TileLayerForward(step, weights, segments, h, acts, context);
  RmsNorm(h, weights.attn_norm, step.config.norm_eps, acts.attn_in, context);
  ObserveInput(step, TensorRole::kWq, acts.attn_in);
  ProjectQkv(step, weights, segments, {acts.attn_in, acts.q, step.rope, step.adapters}, acts,
             context);
  AfterKeys(step, weights, segments, h, acts, context);
}

void LastLayerForward(const StepInput& step, const LayerWeights& weights,
                      std::span<const AttentionSegment> segments, View<const float, 2> h,
                      const StepRows& some, LayerActs& acts, Context& context) {
  const Arena::Scope scope(context.scratch);
  const auto rows = static_cast<int64_t>(some.index.size());
  LayerActs few = FirstRows(acts, rows);
  RmsNorm(h, weights.attn_norm, step.config.norm_eps, acts.attn_in, context);
  const auto in = context.scratch.Matrix<float>(rows, step.config.d_model);
  GatherRows(acts.attn_in, some.index, in);
  ProjectQkv(step, weights, segments, {in, few.q, some.step.rope, some.step.adapters}, acts,
             context);
  if (rows == 0) return;
  GatherRows(h, some.index, some.h);
  AfterKeys(some.step, weights, some.segments, some.h, few, context);
}

}  // namespace octet
