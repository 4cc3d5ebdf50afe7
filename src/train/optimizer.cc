#include "train/optimizer.h"

#include <utility>

namespace octet {

Result<Optimizer> Optimizer::Create(std::vector<TrainedTensor> tensors,
                                    const OptimizerOptions& options) {
  Optimizer optimizer;
  std::vector<TrainedTensor> by_adamw, by_muon;
  for (const TrainedTensor& tensor : tensors) {
    const bool muon = options.muon && tensor.rows > 0;
    std::vector<TrainedTensor>& own = muon ? by_muon : by_adamw;
    optimizer.places_.push_back({muon, own.size()});
    own.push_back(tensor);
  }
  optimizer.tensors_ = std::move(tensors);
  optimizer.has_muon_ = !by_muon.empty();
  OCTET_ASSIGN(optimizer.adamw_, AdamW::Create(std::move(by_adamw), options.adamw));
  OCTET_ASSIGN(optimizer.muon_,
               Muon::Create(std::move(by_muon), {options.momentum, options.adamw.weight_decay}));
  return optimizer;
}

void Optimizer::Step(double rate, double grad_scale, Context& context, ModelTiles* tiles) {
  adamw_.Step(rate, grad_scale, context, has_muon_ ? nullptr : tiles);
  if (!has_muon_) return;
  muon_.Step(rate, grad_scale, context);
  if (tiles != nullptr) tiles->Refresh(context);
}

std::vector<Optimizer::Memory> Optimizer::MemoryOf(size_t tensor) {
  const Place place = places_[tensor];
  if (place.muon) return {{"momentum", muon_.Momentum(place.index)}};
  return {{"first", adamw_.First(place.index)}, {"second", adamw_.Second(place.index)}};
}

}  // namespace octet
