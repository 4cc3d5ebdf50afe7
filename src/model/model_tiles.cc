#include "model/model_tiles.h"

namespace octet {
namespace {

std::vector<WeightMatrix*> TiledMatrices(Weights& weights) {
  std::vector<WeightMatrix*> matrices;
  auto add = [&](WeightMatrix& w) {
    if (w.format == Format::kF32 && w.layout == Layout::kRowMajor) matrices.push_back(&w);
  };
  add(weights.head);
  for (LayerWeights& layer : weights.layers) {
    for (WeightMatrix* w : {&layer.wq, &layer.wk, &layer.wv, &layer.wo}) add(*w);
    for (Expert& expert : layer.experts) {
      for (WeightMatrix* w : {&expert.w1, &expert.w3, &expert.w2}) add(*w);
    }
  }
  return matrices;
}

}  // namespace

Result<std::unique_ptr<ModelTiles>> ModelTiles::Create(Model& model) {
  std::unique_ptr<ModelTiles> tiles(new ModelTiles);
  const std::vector<WeightMatrix*> matrices = TiledMatrices(model.mutable_weights());
  int64_t values = 0;
  for (const WeightMatrix* w : matrices)
    values += TileOperand::Values(w->rows, w->cols) + TileOperand::Values(w->cols, w->rows);
  OCTET_ASSIGN(tiles->buffer_,
               Buffer::Allocate(static_cast<size_t>(values) * sizeof(uint16_t), "bf16 weights"));
  tiles->tiles_.resize(matrices.size());
  auto* next = tiles->buffer_.as<uint16_t>();
  for (size_t i = 0; i < matrices.size(); ++i) {
    WeightMatrix& w = *matrices[i];
    const auto x = MakeView(reinterpret_cast<const float*>(w.data), w.rows, w.cols);
    uint16_t* by_cols = next + TileOperand::Values(w.rows, w.cols);
    tiles->tasks_.push_back({x, false, true, next, true});
    tiles->tasks_.push_back({x, true, true, by_cols, true});
    tiles->tiles_[i] = {next, by_cols};
    tiles->by_start_[x.data] = static_cast<int64_t>(i);
    w.tiles = &tiles->tiles_[i];
    next = by_cols + TileOperand::Values(w.cols, w.rows);
  }
  return tiles;
}

void ModelTiles::Refresh(Context& context) { PackTiles(tasks_, context); }

int64_t ModelTiles::Find(const float* values) const {
  const auto at = by_start_.find(values);
  return at == by_start_.end() ? -1 : at->second;
}

int64_t ModelTiles::Columns(int64_t matrix) const {
  return tasks_[static_cast<size_t>(2 * matrix)].x.shape[1];
}

void ModelTiles::RefreshRows(int64_t matrix, int64_t first, int64_t count,
                             const KernelTable& kernels) const {
  for (const size_t task : {2 * matrix, 2 * matrix + 1})
    PackTaskRows(tasks_[task], first, count, kernels);
}

}  // namespace octet
