#include "model/lora.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/rng.h"
#include "model/role_slots.h"

namespace octet {
namespace {

std::string LastPart(const std::string& name) { return name.substr(name.rfind('.') + 1); }

/// Matrices an adapter may stand beside: those of layers.
bool CanAdapt(const TensorSpec& spec) { return spec.layer >= 0 && spec.shape.size() == 2; }

std::string BaseName(const TensorSpec& spec, const ModelConfig& config) {
  const std::string name = PlaceOf(spec, config, Naming::kHfSplit).name;
  return name.substr(0, name.size() - std::strlen(".weight"));
}

Status CheckTargets(const std::vector<std::string>& targets, const std::set<std::string>& known) {
  std::string list;
  for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
  for (const std::string& target : targets) {
    if (!known.contains(target)) {
      return Err(ErrorCode::kInvalidArgument,
                 "\"{}\" is not a matrix an adapter can stand beside; this model has {}", target,
                 list);
    }
  }
  return {};
}

}  // namespace

Result<Adapters> Adapters::Create(const ModelConfig& config, const LoraOptions& options) {
  constexpr int64_t kMaxRank = 4096;
  if (options.rank < 1 || options.rank > kMaxRank) {
    return Err(ErrorCode::kInvalidArgument, "adapters of rank {}; expected 1 to {}", options.rank,
               kMaxRank);
  }
  Adapters adapters;
  adapters.options_ = options;
  adapters.config_ = config;
  const double scale = options.alpha / static_cast<double>(options.rank);
  const std::set<std::string> wanted(options.targets.begin(), options.targets.end());
  std::set<std::string> known;
  for (const TensorSpec& spec : TensorSpecs(config)) {
    if (!CanAdapt(spec)) continue;
    const std::string target = LastPart(BaseName(spec, config));
    known.insert(target);
    if (wanted.contains(target)) adapters.Add(spec, options.rank, scale);
  }
  OCTET_TRY(CheckTargets(options.targets, known));
  OCTET_TRY(adapters.Allocate());
  return adapters;
}

void Adapters::Add(const TensorSpec& spec, int64_t rank, double scale) {
  const auto take = [&](int64_t n) {
    const int64_t at = size_;
    size_ += (n + 15) / 16 * 16;
    return at;
  };
  const int64_t rows = spec.shape[0], cols = spec.shape[1];
  const int64_t a = take(rank * cols), b = take(rank * rows);
  entries_.push_back(
      {spec, BaseName(spec, config_), rows, cols, rank, static_cast<float>(scale), a, b});
}

Status Adapters::Allocate() {
  OCTET_ASSIGN(values_, Buffer::Allocate(static_cast<size_t>(size_) * sizeof(float), "adapters"));
  return {};
}

void Adapters::Initialise(uint64_t seed) {
  uint64_t stream = 0;
  for (const Entry& entry : entries_) {
    ++stream;
    const double bound = 1 / std::sqrt(static_cast<double>(entry.cols));
    const std::span<float> a = A(entry);
    for (size_t i = 0; i < a.size(); ++i)
      a[i] = static_cast<float>(bound * (2 * RandomUniform(seed, stream, i) - 1));
    const std::span<float> b = B(entry);
    std::fill(b.begin(), b.end(), 0.0f);
  }
}

void Adapters::AttachTo(Weights& weights) {
  matrices_.clear();
  for (const Entry& e : entries_) matrices_.push_back({A(e).data(), B(e).data(), e.rank, e.scale});
  for (size_t i = 0; i < entries_.size(); ++i) {
    WeightMatrix* matrix = MatrixSlot(weights, entries_[i].spec);
    CHECK(matrix != nullptr && matrix->rows == entries_[i].rows);
    matrix->adapter = &matrices_[i];
  }
}

void Adapters::AddViewsTo(Gradients& gradients) {
  for (const Entry& e : entries_) {
    LayerGradients& layer = gradients.layers[static_cast<size_t>(e.spec.layer)];
    ExpertGrads& expert = layer.experts[static_cast<size_t>(std::max(e.spec.expert, 0))];
    const AdapterGrads views{MakeView(A(e).data(), e.rank, e.cols),
                             MakeView(B(e).data(), e.rows, e.rank)};
    switch (e.spec.role) {
      case TensorRole::kWq:
        layer.adapter_q = views;
        break;
      case TensorRole::kWk:
        layer.adapter_k = views;
        break;
      case TensorRole::kWv:
        layer.adapter_v = views;
        break;
      case TensorRole::kWo:
        layer.adapter_o = views;
        break;
      case TensorRole::kRouter:
        layer.adapter_router = views;
        break;
      case TensorRole::kW1:
        expert.adapter_w1 = views;
        break;
      case TensorRole::kW2:
        expert.adapter_w2 = views;
        break;
      case TensorRole::kW3:
        expert.adapter_w3 = views;
        break;
      default:
        CHECK(false && "no adapter stands beside a vector");
    }
  }
}

Result<Adapters> Adapters::InOrder(RopePairing pairing) const {
  Adapters copy;
  copy.config_ = config_;
  copy.options_ = options_;
  copy.entries_ = entries_;
  copy.size_ = size_;
  OCTET_TRY(copy.Allocate());
  std::memcpy(copy.values_.data(), values_.data(), static_cast<size_t>(size_) * sizeof(float));
  if (pairing != config_.rope_pairing) copy.PermuteB(pairing == RopePairing::kHalves);
  copy.config_.rope_pairing = pairing;
  return copy;
}

/// Rows of B of wq and wk between interleaved pairs and halves.
void Adapters::PermuteB(bool to_halves) {
  const int64_t head_dim = config_.head_dim, half = head_dim / 2;
  for (const Entry& e : entries_) {
    if (e.spec.role != TensorRole::kWq && e.spec.role != TensorRole::kWk) continue;
    const int64_t r = e.rank;
    const std::span<float> b = B(e);
    const std::vector<float> from(b.begin(), b.end());
    for (int64_t row = 0; row < e.rows; ++row) {
      const int64_t i = row % head_dim, first = row - i;
      const int64_t natural = first + (i < half ? 2 * i : 2 * (i - half) + 1);  // of halves' row
      const int64_t source = to_halves ? natural : row, target = to_halves ? row : natural;
      std::copy_n(from.begin() + source * r, r, b.begin() + target * r);
    }
  }
}

}  // namespace octet
