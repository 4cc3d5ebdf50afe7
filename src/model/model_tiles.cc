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
    w.tiles = &tiles->tiles_[i];
    next = by_cols + TileOperand::Values(w.cols, w.rows);
  }
  return tiles;
}

void ModelTiles::Refresh(Context& context) { PackTiles(tasks_, context); }

}  // namespace octet
