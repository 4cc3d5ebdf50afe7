#include "ops/tile_linear.h"

#include "ops/tiles.h"

namespace octet {
namespace {

bool SameRows(const View<const float, 2>& a, const View<const float, 2>& b) {
  return a.data == b.data && a.shape == b.shape && a.stride == b.stride;
}

/// Matrices to be packed together; one that comes twice in a row is packed once.
class Packs {
 public:
  Packs(int64_t most, Context& context)
      : tasks_(context.scratch.Allocate<PackTask>(most)), context_(context) {}

  TileOperand Add(View<const float, 2> x, bool turned, bool pairs) {
    for (int64_t i = n_ - 1; i >= 0 && i >= n_ - 2; --i) {
      const PackTask& t = tasks_[i];
      if (t.turned == turned && t.pairs == pairs && SameRows(t.x, x)) return t.operand();
    }
    const int64_t values = turned ? TileOperand::Values(x.shape[1], x.shape[0])
                                  : TileOperand::Values(x.shape[0], x.shape[1]);
    tasks_[n_] = {x, turned, pairs, context_.scratch.Allocate<uint16_t>(values)};
    return tasks_[n_++].operand();
  }
  void Run() { PackTiles({tasks_, static_cast<size_t>(n_)}, context_); }

 private:
  PackTask* tasks_;
  Context& context_;
  int64_t n_ = 0;
};

}  // namespace

void TileLinear(std::span<const LinearTask> tasks, Context& context) {
  const Arena::Scope scope(context.scratch);
  const auto most = static_cast<int64_t>(tasks.size());
  auto* products = context.scratch.Allocate<TileProductTask>(most);
  Packs packs(most, context);
  size_t n = 0;
  for (const LinearTask& task : tasks) {
    if (task.x.shape[0] == 0) continue;
    products[n++] = {packs.Add(task.x, false, false), WeightOperand(*task.w, false, context),
                     task.y};
  }
  packs.Run();
  MultiplyTiles({products, n}, context);
}

void TileGradInput(std::span<const LinearGradInputTask> tasks, Context& context) {
  const Arena::Scope scope(context.scratch);
  const auto most = static_cast<int64_t>(tasks.size());
  auto* products = context.scratch.Allocate<TileProductTask>(most);
  Packs packs(most, context);
  size_t n = 0;
  for (const LinearGradInputTask& task : tasks) {
    if (task.d_y.shape[0] == 0) continue;
    products[n++] = {packs.Add(task.d_y, false, false), WeightOperand(*task.w, true, context),
                     task.d_x, task.add};
  }
  packs.Run();
  MultiplyTiles({products, n}, context);
}

void TileGradWeight(std::span<const LinearGradWeightTask> tasks, Context& context) {
  const Arena::Scope scope(context.scratch);
  const auto most = static_cast<int64_t>(tasks.size());
  auto* products = context.scratch.Allocate<TileProductTask>(most);
  Packs packs(2 * most, context);
  size_t n = 0;
  for (const LinearGradWeightTask& task : tasks) {
    if (task.x.shape[0] == 0 || task.d_w.data == nullptr) continue;
    const TileOperand x = packs.Add(task.x, true, true);
    products[n++] = {packs.Add(task.d_y, true, false), x, task.d_w, true};
  }
  packs.Run();
  MultiplyTiles({products, n}, context);
}

}  // namespace octet
