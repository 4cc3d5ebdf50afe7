#include "ops/linear_grad.h"

#include "ops/product.h"
#include "ops/tile_linear.h"

namespace octet {
namespace {

bool SameRows(const View<const float, 2>& a, const View<const float, 2>& b) {
  return a.data == b.data && a.shape == b.shape && a.stride == b.stride;
}

void FloatGradInput(std::span<const LinearGradInputTask> tasks, Context& context) {
  const Arena::Scope scope(context.scratch);
  auto* products = context.scratch.Allocate<Product>(static_cast<int64_t>(tasks.size()));
  size_t n = 0;
  for (const LinearGradInputTask& task : tasks) {
    if (task.d_y.shape[0] == 0) continue;
    products[n++] = {task.d_y, Transposed(*task.w, context), task.d_x, task.add};
  }
  Multiply({products, n}, context);
}

void FloatGradWeight(std::span<const LinearGradWeightTask> tasks, Context& context) {
  const Arena::Scope scope(context.scratch);
  auto* products = context.scratch.Allocate<Product>(static_cast<int64_t>(tasks.size()));
  size_t n = 0;
  View<const float, 2> last_x;
  for (const LinearGradWeightTask& task : tasks) {
    if (task.x.shape[0] == 0 || task.d_w.data == nullptr) continue;
    // Neighbours often share x (q, k and v; w1 and w3): transposed once.
    const bool shared = n > 0 && SameRows(task.x, last_x);
    const View<const float, 2> xt = shared ? products[n - 1].b : Transposed(task.x, context);
    products[n++] = {Transposed(task.d_y, context), xt, task.d_w, true};
    last_x = task.x;
  }
  Multiply({products, n}, context);
}

}  // namespace

void LinearGradInput(std::span<const LinearGradInputTask> tasks, Context& context) {
  context.arithmetic == Arithmetic::kBf16 ? TileGradInput(tasks, context)
                                          : FloatGradInput(tasks, context);
  for (const LinearGradInputTask& task : tasks)
    AdapterGradInput(*task.w, task.d_y, task.d_x, context);
}

void LinearGradWeight(std::span<const LinearGradWeightTask> tasks, Context& context) {
  context.arithmetic == Arithmetic::kBf16 ? TileGradWeight(tasks, context)
                                          : FloatGradWeight(tasks, context);
  for (const LinearGradWeightTask& task : tasks) {
    if (task.w != nullptr) AdapterGradWeights({task.w, task.x, task.d_y, task.adapter}, context);
  }
}

}  // namespace octet
