#include "ops/lora.h"

#include "ops/product.h"
#include "ops/rows.h"

namespace octet {
namespace {

View<const float, 2> A(const WeightMatrix& w) {
  return MakeView(w.adapter->a, w.adapter->rank, w.cols);
}
View<const float, 2> B(const WeightMatrix& w) {
  return MakeView(w.adapter->b, w.rows, w.adapter->rank);
}

void Scale(View<float, 2> x, float scale, Context& context) {
  ForEachRow(x.shape[0], x.shape[1], context, [&](int64_t t) {
    for (float& value : x[t]) value *= scale;
  });
}

/// scale · d_y · B, [T, rank].
View<float, 2> ThroughB(const WeightMatrix& w, View<const float, 2> d_y, Context& context) {
  auto d_t = context.scratch.Matrix<float>(d_y.shape[0], w.adapter->rank);
  const Product product{d_y, Transposed(B(w), context), d_t};
  Multiply({&product, 1}, context);
  Scale(d_t, w.adapter->scale, context);
  return d_t;
}

}  // namespace

void AddAdapters(std::span<const LinearTask> tasks, Context& context) {
  const Arena::Scope scope(context.scratch);
  Product* down = nullptr;
  Product* up = nullptr;
  size_t n = 0;
  for (const LinearTask& task : tasks) {
    const WeightMatrix& w = *task.w;
    if (w.adapter == nullptr || task.x.shape[0] == 0) continue;
    if (down == nullptr) {
      down = context.scratch.Allocate<Product>(static_cast<int64_t>(tasks.size()));
      up = context.scratch.Allocate<Product>(static_cast<int64_t>(tasks.size()));
    }
    auto t = context.scratch.Matrix<float>(task.x.shape[0], w.adapter->rank);
    down[n] = {task.x, A(w), t};
    up[n++] = {t, B(w), task.y, true};
  }
  if (n == 0) return;
  Multiply({down, n}, context);
  size_t i = 0;
  for (const LinearTask& task : tasks) {
    if (task.w->adapter != nullptr && task.x.shape[0] > 0)
      Scale(down[i++].c, task.w->adapter->scale, context);
  }
  Multiply({up, n}, context);
}

void AdapterGradWeights(const AdapterGradTask& task, Context& context) {
  const WeightMatrix& w = *task.w;
  if (w.adapter == nullptr || task.grads.a.data == nullptr || task.x.shape[0] == 0) return;
  const Arena::Scope scope(context.scratch);
  auto t = context.scratch.Matrix<float>(task.x.shape[0], w.adapter->rank);
  const Product down{task.x, A(w), t};
  Multiply({&down, 1}, context);
  Scale(t, w.adapter->scale, context);
  const View<const float, 2> d_t = ThroughB(w, task.d_y, context);
  const Product grads[] = {
      {Transposed(d_t, context), Transposed(task.x, context), task.grads.a, true},
      {Transposed(task.d_y, context), Transposed(t, context), task.grads.b, true}};
  Multiply(grads, context);
}

void AdapterGradInput(const WeightMatrix& w, View<const float, 2> d_y, View<float, 2> d_x,
                      Context& context) {
  if (w.adapter == nullptr || d_y.shape[0] == 0) return;
  const Arena::Scope scope(context.scratch);
  const Product product{ThroughB(w, d_y, context), Transposed(A(w), context), d_x, true};
  Multiply({&product, 1}, context);
}

}  // namespace octet
