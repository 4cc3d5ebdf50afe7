#include "ops/expert_ffn_grad.h"

#include <algorithm>

#include "ops/linear_grad.h"
#include "ops/rows.h"
#include "ops/swiglu_grad.h"
#include "ops/tile_ffn.h"

namespace octet {
namespace {

/// Rows [first, first + count) of the slots go through expert `index`.
struct Group {
  size_t index;
  int64_t first, count;
};

/// The weights' own gradient.
void GradCombine(const ExpertFfnGradTask& task, const ExpertPlan& plan, View<float, 2> d_weights,
                 Context& context) {
  const int64_t d = task.d_out.shape[1], k = plan.slot_of.shape[1];
  ForEachRow(task.d_out.shape[0], 2 * d * k, context, [&](int64_t t) {
    for (int64_t j = 0; j < k; ++j) {
      double sum = 0;
      const int64_t slot = plan.slot_of[t][j];
      if (slot >= 0)
        context.kernels.dot->dot({task.d_out[t].data, task.acts.y[slot].data, d, &sum});
      d_weights[t][j] = static_cast<float>(sum);
    }
  });
}

/// d_y[slot] = weight · d_out[row].
void Scatter(const ExpertFfnGradTask& task, const ExpertPlan& plan, View<float, 2> d_y,
             Context& context) {
  const int64_t d = task.d_out.shape[1], k = plan.slot_of.shape[1];
  ForEachRow(task.d_out.shape[0], d * k, context, [&](int64_t t) {
    for (int64_t j = 0; j < k; ++j) {
      const int64_t slot = plan.slot_of[t][j];
      if (slot < 0) continue;
      ScaleRow(task.d_out[t].data, plan.weight[t][j], d, false, d_y[slot].data, context);
    }
  });
}

/// d_x[t] = Σ_j d_gathered[slot of choice j], choices in order.
void GradGather(View<const float, 2> d_gathered, const ExpertPlan& plan, View<float, 2> d_x,
                Context& context) {
  const int64_t d = d_x.shape[1], k = plan.slot_of.shape[1];
  ForEachRow(d_x.shape[0], d * k, context, [&](int64_t t) {
    float* sum = d_x[t].data;
    bool any = false;
    for (int64_t j = 0; j < k; ++j) {
      const int64_t slot = plan.slot_of[t][j];
      if (slot < 0) continue;
      ScaleRow(d_gathered[slot].data, 1.0f, d, any, sum, context);
      any = true;
    }
    if (!any) std::fill_n(sum, d, 0.0f);
  });
}

/// From d_y [S, d_model] (the groups' rows of it) back to d_x [S, d_model] (which may be d_y) and
/// the experts' weights.
void GradExperts(const ExpertFfnGradTask& task, std::span<const Group> groups,
                 View<const float, 2> x, View<const float, 2> d_y, View<float, 2> d_x,
                 Context& context) {
  const ExpertActs& acts = task.acts;
  const auto n = static_cast<int64_t>(groups.size());
  const int64_t slots = groups.empty() ? 0 : groups.back().first + groups.back().count;
  auto d_hidden = context.scratch.Matrix<float>(slots, acts.hidden.shape[1]);
  auto d_up = context.scratch.Matrix<float>(slots, acts.hidden.shape[1]);
  auto* inputs = context.scratch.Allocate<LinearGradInputTask>(n);
  auto* weights = context.scratch.Allocate<LinearGradWeightTask>(2 * n);
  int64_t i = 0;
  for (const Group& g : groups) {
    const auto rows = d_y.Rows(g.first, g.count);
    inputs[i] = {&task.experts[g.index].w2, rows, d_hidden.Rows(g.first, g.count)};
    const ExpertGrads& grads = task.grads[g.index];
    weights[i++] = {acts.hidden.Rows(g.first, g.count), rows, grads.w2, &task.experts[g.index].w2,
                    grads.adapter_w2};
  }
  LinearGradInput({inputs, groups.size()}, context);
  LinearGradWeight({weights, groups.size()}, context);
  SwiGluGrad({acts.gate.Rows(0, slots), acts.up.Rows(0, slots), d_hidden, d_hidden, d_up}, context);

  i = 0;
  for (const Group& g : groups) {
    const auto rows = x.Rows(g.first, g.count);
    const ExpertGrads& grads = task.grads[g.index];
    const Expert& expert = task.experts[g.index];
    weights[i++] = {rows, d_hidden.Rows(g.first, g.count), grads.w1, &expert.w1, grads.adapter_w1};
    weights[i++] = {rows, d_up.Rows(g.first, g.count), grads.w3, &expert.w3, grads.adapter_w3};
  }
  LinearGradWeight({weights, 2 * groups.size()}, context);
  i = 0;
  for (const Group& g : groups) {
    inputs[i++] = {&task.experts[g.index].w1, d_hidden.Rows(g.first, g.count),
                   d_x.Rows(g.first, g.count)};
  }
  LinearGradInput({inputs, groups.size()}, context);
  i = 0;
  for (const Group& g : groups) {
    inputs[i++] = {&task.experts[g.index].w3, d_up.Rows(g.first, g.count),
                   d_x.Rows(g.first, g.count), true};
  }
  LinearGradInput({inputs, groups.size()}, context);
}

}  // namespace

void ExpertFfnGrad(const ExpertFfnGradTask& task, const ExpertPlan& plan, View<float, 2> d_weights,
                   Context& context) {
  const Arena::Scope scope(context.scratch);
  auto d_slots = context.scratch.Matrix<float>(task.acts.y.shape[0], task.d_out.shape[1]);
  if (CanTileFfn(task.experts, task.acts, context)) {
    TileFfnGrad({task.experts, task.acts, task.x, task.d_out, task.grads}, plan, d_weights, d_slots,
                context);
    GradGather(d_slots, plan, task.d_x, context);
    return;
  }
  GradCombine(task, plan, d_weights, context);
  Scatter(task, plan, d_slots, context);
  auto* groups = context.scratch.Allocate<Group>(static_cast<int64_t>(task.experts.size()));
  size_t n = 0;
  for (size_t e = 0; e < task.experts.size(); ++e) {
    const auto at = static_cast<int64_t>(e);
    const int64_t first = plan.offset[at], count = plan.offset[at + 1] - first;
    if (count > 0) groups[n++] = {e, first, count};
  }
  GradExperts(task, {groups, n}, task.acts.x, d_slots, d_slots, context);
  GradGather(d_slots, plan, task.d_x, context);
}

void DenseFfnGrad(const ExpertFfnGradTask& task, View<const float, 2> x, Context& context) {
  const Arena::Scope scope(context.scratch);
  const Group all{0, 0, x.shape[0]};
  GradExperts(task, {&all, 1}, x, task.d_out, task.d_x, context);
}

}  // namespace octet
