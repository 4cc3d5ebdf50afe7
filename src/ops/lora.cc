#include "ops/lora.h"

#include <algorithm>

#include "ops/product.h"
#include "ops/rows.h"

namespace octet {
namespace {

View<const float, 2> A(const AdapterMatrix& adapter, const WeightMatrix& w) {
  return MakeView(adapter.a, adapter.rank, w.cols);
}
View<const float, 2> B(const AdapterMatrix& adapter, const WeightMatrix& w) {
  return MakeView(adapter.b, w.rows, adapter.rank);
}

void Scale(View<float, 2> x, float scale, Context& context) {
  ForEachRow(x.shape[0], x.shape[1], context, [&](int64_t t) {
    for (float& value : x[t]) value *= scale;
  });
}

/// scale · d_y · B, [T, rank].
View<float, 2> ThroughB(const WeightMatrix& w, View<const float, 2> d_y, Context& context) {
  auto d_t = context.scratch.Matrix<float>(d_y.shape[0], w.adapter->rank);
  const Product product{d_y, Transposed(B(*w.adapter, w), context), d_t};
  Multiply({&product, 1}, context);
  Scale(d_t, w.adapter->scale, context);
  return d_t;
}

/// y += scale · B A x for runs of tasks' rows, no row twice: all of them in two fork-joins.
class Additions {
 public:
  Additions(int64_t most, Context& context)
      : context_(context),
        down_(context.scratch.Allocate<Product>(most)),
        up_(context.scratch.Allocate<Product>(most)),
        scale_(context.scratch.Allocate<float>(most)) {}

  void Add(const AdapterMatrix& adapter, const LinearTask& task, int64_t first, int64_t rows) {
    const WeightMatrix& w = *task.w;
    auto t = context_.scratch.Matrix<float>(rows, adapter.rank);
    down_[n_] = {task.x.Rows(first, rows), A(adapter, w), t};
    up_[n_] = {t, B(adapter, w), task.y.Rows(first, rows), true};
    scale_[n_++] = adapter.scale;
  }
  void Apply() {
    if (n_ == 0) return;
    Multiply({down_, n_}, context_);
    for (size_t i = 0; i < n_; ++i) Scale(down_[i].c, scale_[i], context_);
    Multiply({up_, n_}, context_);
    n_ = 0;
  }

 private:
  Context& context_;
  Product *down_, *up_;
  float* scale_;
  size_t n_ = 0;
};

/// Calls visit(adapter, first, rows) for every run of rows that have the same one.
template <class Visit>
void ForEachRun(const LinearTask& task, Visit visit) {
  if (task.w->choices == nullptr) return;
  const std::span<const int32_t> ids = task.adapter;
  for (size_t first = 0, end = 0; first < ids.size(); first = end) {
    while (end < ids.size() && ids[end] == ids[first]) ++end;
    if (ids[first] == 0) continue;
    const AdapterMatrix& adapter = task.w->choices[ids[first] - 1];
    if (adapter.a == nullptr) continue;  // it leaves this matrix as it is
    visit(adapter, static_cast<int64_t>(first), static_cast<int64_t>(end - first));
  }
}

int64_t CountRuns(std::span<const LinearTask> tasks) {
  int64_t n = 0;
  for (const LinearTask& task : tasks)
    ForEachRun(task, [&](const AdapterMatrix&, int64_t, int64_t) { ++n; });
  return n;
}

}  // namespace

void AddAdapters(std::span<const LinearTask> tasks, Context& context) {
  const auto for_all = std::ranges::count_if(tasks, [](const LinearTask& task) {
    return task.w->adapter != nullptr && task.x.shape[0] > 0;
  });
  const int64_t runs = CountRuns(tasks);
  if (for_all == 0 && runs == 0) return;
  const Arena::Scope scope(context.scratch);
  Additions additions(std::max<int64_t>(for_all, runs), context);
  for (const LinearTask& task : tasks) {
    const int64_t rows = task.x.shape[0];
    if (task.w->adapter != nullptr && rows > 0) additions.Add(*task.w->adapter, task, 0, rows);
  }
  additions.Apply();
  for (const LinearTask& task : tasks) {
    ForEachRun(task, [&](const AdapterMatrix& adapter, int64_t first, int64_t rows) {
      additions.Add(adapter, task, first, rows);
    });
  }
  additions.Apply();
}

void AdapterGradWeights(const AdapterGradTask& task, Context& context) {
  const WeightMatrix& w = *task.w;
  if (w.adapter == nullptr || task.grads.a.data == nullptr || task.x.shape[0] == 0) return;
  const Arena::Scope scope(context.scratch);
  auto t = context.scratch.Matrix<float>(task.x.shape[0], w.adapter->rank);
  const Product down{task.x, A(*w.adapter, w), t};
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
  const Product product{ThroughB(w, d_y, context), Transposed(A(*w.adapter, w), context), d_x,
                        true};
  Multiply({&product, 1}, context);
}

}  // namespace octet
