#include "ptq/tensor_plan.h"

#include <set>
#include <string_view>
#include <unordered_map>

namespace octet {
namespace {

RopePairing PairingOf(Naming naming) {
  const bool is_hf = naming == Naming::kHfSplit || naming == Naming::kHfFused;
  return is_hf ? RopePairing::kHalves : RopePairing::kInterleaved;
}

RowOrder OrderOf(TensorRole role, RopePairing from, RopePairing to) {
  if (from == to || (role != TensorRole::kWq && role != TensorRole::kWk)) return RowOrder::kSame;
  return from == RopePairing::kHalves ? RowOrder::kHalvesToInterleaved
                                      : RowOrder::kInterleavedToHalves;
}

class Planner {
 public:
  Planner(const Checkpoint& source, const ModelConfig& config, Naming from, Naming to)
      : source_(source), config_(config), from_(from), to_(to) {}

  Result<TensorPlan> Plan(ChooseFormat choose) {
    for (const TensorSpec& spec : TensorSpecs(config_)) OCTET_TRY(Add(spec));
    for (PlannedTensor& tensor : plan_.tensors) OCTET_TRY(SetFormat(tensor, choose));
    for (const TensorInfo& info : source_.tensors->tensors()) {
      if (!used_.contains(info.name)) plan_.left_out.push_back(info.name);
    }
    return std::move(plan_);
  }

 private:
  Status Add(const TensorSpec& spec) {
    OCTET_ASSIGN(const SourceSlice slice, FindSlice(spec));
    const TensorPlace place = PlaceOf(spec, config_, to_);
    const auto [it, is_new] = by_name_.try_emplace(place.name, plan_.tensors.size());
    if (is_new) {
      PlannedTensor tensor;
      tensor.info.name = place.name;
      tensor.info.shape = place.file_shape;
      tensor.role = spec.role;
      tensor.layer = spec.layer;
      tensor.row_order = OrderOf(spec.role, config_.rope_pairing, PairingOf(to_));
      tensor.head_dim = config_.head_dim;
      plan_.tensors.push_back(std::move(tensor));
    }
    plan_.tensors[it->second].slices.push_back(slice);
    return {};
  }

  Result<SourceSlice> FindSlice(const TensorSpec& spec) {
    const TensorPlace place = PlaceOf(spec, config_, from_);
    const std::string where = source_.path.string();
    const TensorInfo* info = source_.tensors->Find(place.name);
    if (info == nullptr) {
      return Err(ErrorCode::kNotFound,
                 "{}: tensor {} is missing; the download is incomplete or the configuration is of "
                 "another model",
                 where, place.name);
    }
    if (info->shape != place.file_shape) {
      return Err(ErrorCode::kCorrupt, "{}: {} is {}, expected {} by the model's configuration",
                 where, place.name, ShapeString(info->shape), ShapeString(place.file_shape));
    }
    if (info->layout != Layout::kRowMajor) {
      return Err(ErrorCode::kUnsupported,
                 "{}: is packed for the kernels of a machine (layout {}); use the model it was "
                 "packed from",
                 where, LayoutName(info->layout));
    }
    if (place.transposed && octet::Info(info->format).block_values != 1) {
      return Err(ErrorCode::kUnsupported, "{}: {} is transposed and stored as {} blocks", where,
                 place.name, octet::Info(info->format).name);
    }
    used_.insert(info->name);
    const bool is_matrix = spec.shape.size() == 2;
    return SourceSlice{info, place.first_row, is_matrix ? spec.shape[0] : 1, spec.shape.back(),
                       place.transposed};
  }

  Status SetFormat(PlannedTensor& tensor, ChooseFormat choose) {
    const Format first = tensor.slices.front().info->format;
    OCTET_ASSIGN(tensor.info.format, choose(tensor, first));
    for (const SourceSlice& slice : tensor.slices) {
      OCTET_ASSIGN(const Format other, choose(tensor, slice.info->format));
      if (other != tensor.info.format) {
        return Err(ErrorCode::kUnsupported,
                   "{}: {} is {} and {} is {}, but {} holds both; choose one type for all",
                   source_.path.string(), tensor.slices.front().info->name, octet::Info(first).name,
                   slice.info->name, octet::Info(slice.info->format).name, tensor.info.name);
      }
    }
    tensor.info.bytes =
        static_cast<uint64_t>(FormatBytes(tensor.info.format, tensor.info.values()));
    return {};
  }

  const Checkpoint& source_;
  const ModelConfig& config_;
  Naming from_, to_;
  TensorPlan plan_;
  std::unordered_map<std::string, size_t> by_name_;
  std::set<std::string_view> used_;
};

}  // namespace

Result<TensorPlan> PlanTensors(const Checkpoint& source, const ModelConfig& config, Naming target,
                               ChooseFormat choose) {
  OCTET_ASSIGN(const Naming naming, RecogniseNaming(source, config));
  return Planner(source, config, naming, target).Plan(choose);
}

}  // namespace octet
