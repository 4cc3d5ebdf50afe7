#include "ops/expert_ffn.h"

#include <algorithm>
#include <cstring>

#include "ops/linear.h"
#include "ops/rows.h"
#include "ops/swiglu.h"
#include "ops/tile_ffn.h"

namespace octet {
namespace {

void Gather(View<const float, 2> x, const ExpertPlan& plan, View<float, 2> gathered,
            Context& context) {
  const PartScope part(context.profile, StepPart::kGather);
  const int64_t d = x.shape[1];
  ForEachRow(gathered.shape[0], d, context, [&](int64_t slot) {
    std::memcpy(gathered[slot].data, x[plan.row_of_slot[slot]].data,
                static_cast<size_t>(d) * sizeof(float));
  });
}

void Combine(View<const float, 2> y, const ExpertPlan& plan, View<float, 2> out, Context& context) {
  const PartScope part(context.profile, StepPart::kCombine);
  const Arena::Scope scope(context.scratch);
  const int64_t d = out.shape[1], k = plan.slot_of.shape[1];
  auto* rows = context.scratch.Allocate<const float*>(out.shape[0] * k);
  auto* weights = context.scratch.Allocate<float>(out.shape[0] * k);
  ForEachRow(out.shape[0], d * k, context, [&](int64_t t) {
    const float** of_row = rows + t * k;
    float* weight = weights + t * k;
    int64_t n = 0;
    for (int64_t j = 0; j < k; ++j) {
      if (plan.slot_of[t][j] < 0) continue;
      of_row[n] = y[plan.slot_of[t][j]].data;
      weight[n++] = plan.weight[t][j];
    }
    if (n == 0) {
      std::fill_n(out[t].data, d, 0.0f);
    } else {
      context.kernels.sum->sum({out[t].data, false, of_row, weight, n, d});
    }
  });
}

/// SwiGlu overwrites w1 x; the gradient needs it.
void KeepGate(const ExpertActs& acts, Context& context) {
  if (acts.gate.data == nullptr) return;
  const int64_t d = acts.gate.shape[1];
  ForEachRow(acts.gate.shape[0], d, context, [&](int64_t slot) {
    std::memcpy(acts.gate[slot].data, acts.hidden[slot].data,
                static_cast<size_t>(d) * sizeof(float));
  });
}

/// Of slots [first, first + count).
std::span<const int32_t> AdaptersOf(const ExpertPlan& plan, int64_t first, int64_t count) {
  if (plan.adapter.empty()) return {};
  return plan.adapter.subspan(static_cast<size_t>(first), static_cast<size_t>(count));
}

}  // namespace

ExpertActs AllocateExpertActs(int64_t slots, int64_t d_model, int64_t d_ff, Arena& arena) {
  return {arena.Matrix<float>(slots, d_model),
          arena.Matrix<float>(slots, d_ff),
          arena.Matrix<float>(slots, d_ff),
          arena.Matrix<float>(slots, d_model),
          {},
          {},
          {}};
}

void ExpertFfn(View<const float, 2> x, std::span<const Expert> experts, const ExpertPlan& plan,
               const ExpertActs& acts, View<float, 2> out, Context& context) {
  if (CanTileFfn(experts, acts, context)) {
    const Arena::Scope scope(context.scratch);
    const auto y = context.scratch.Matrix<float>(acts.y.shape[0], acts.y.shape[1]);
    TileFfn(x, experts, plan, acts, y, context);
    Combine(y, plan, out, context);
    return;
  }
  Arena::Scope scope(context.scratch);
  const auto n_experts = static_cast<int64_t>(experts.size());
  const int64_t slots = plan.offset[n_experts];
  Gather(x, plan, acts.x.Rows(0, slots), context);

  auto* tasks = context.scratch.Allocate<LinearTask>(2 * n_experts);
  int64_t n = 0;
  for (int64_t e = 0; e < n_experts; ++e) {
    const int64_t first = plan.offset[e], count = plan.offset[e + 1] - first;
    if (count == 0) continue;  // an untouched expert is not read
    const View<const float, 2> in = acts.x.Rows(first, count);
    const std::span<const int32_t> adapter = AdaptersOf(plan, first, count);
    tasks[n++] = {&experts[e].w1, in, acts.hidden.Rows(first, count), adapter};
    tasks[n++] = {&experts[e].w3, in, acts.up.Rows(first, count), adapter};
  }
  TimedLinear(StepPart::kUpGate, {tasks, static_cast<size_t>(n)}, context);
  KeepGate(acts, context);
  SwiGlu(acts.hidden.Rows(0, slots), acts.up.Rows(0, slots), context);
  n = 0;
  for (int64_t e = 0; e < n_experts; ++e) {
    const int64_t first = plan.offset[e], count = plan.offset[e + 1] - first;
    if (count == 0) continue;
    tasks[n++] = {&experts[e].w2, acts.hidden.Rows(first, count), acts.y.Rows(first, count),
                  AdaptersOf(plan, first, count)};
  }
  TimedLinear(StepPart::kDown, {tasks, static_cast<size_t>(n)}, context);
  Combine(acts.y, plan, out, context);
}

void DenseFfn(View<const float, 2> x, const Expert& expert, const ExpertActs& acts,
              View<float, 2> out, Context& context, std::span<const int32_t> adapter) {
  const LinearTask up_and_gate[] = {{&expert.w1, x, acts.hidden, adapter},
                                    {&expert.w3, x, acts.up, adapter}};
  TimedLinear(StepPart::kUpGate, up_and_gate, context);
  KeepGate(acts, context);
  SwiGlu(acts.hidden, acts.up, context);
  const LinearTask down{&expert.w2, acts.hidden, out, adapter};
  TimedLinear(StepPart::kDown, {&down, 1}, context);
}

}  // namespace octet
