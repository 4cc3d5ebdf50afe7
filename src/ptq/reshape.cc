#include "ptq/reshape.h"

#include <cmath>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "model/tensor_specs.h"

namespace octet {
namespace {

/// What a tensor of the new shape is made of.
struct Origin {
  enum class Kind { kSame, kNoisy, kPooled, kRouter };
  Kind kind = Kind::kSame;
  const TensorInfo* source = nullptr;  // null for a router
  uint64_t stream = 0;                 // of random numbers
};

/// The tensors of the new shape over those of the source. New values are made when they are asked
/// for and kept until Release.
class ReshapedSource final : public TensorSource {
 public:
  ReshapedSource(std::unique_ptr<TensorSource> source, const Reshape& reshape, int64_t head_dim)
      : source_(std::move(source)), reshape_(reshape), head_dim_(head_dim) {}

  const TensorSource& source() const { return *source_; }

  void Add(TensorInfo info, const Origin& origin) {
    index_.emplace(info.name, tensors_.size());
    tensors_.push_back(std::move(info));
    origins_.push_back(origin);
  }

  const std::vector<TensorInfo>& tensors() const override { return tensors_; }

  const TensorInfo* Find(std::string_view name) const override {
    const auto it = index_.find(std::string(name));
    return it == index_.end() ? nullptr : &tensors_[it->second];
  }

  Result<std::span<const std::byte>> Data(const TensorInfo& info) const override {
    const Origin& origin = OriginOf(info);
    if (origin.kind == Origin::Kind::kSame) return source_->Data(*origin.source);
    auto& made = made_[info.name];
    if (made.empty()) {
      OCTET_ASSIGN(const std::vector<float> values, Make(info, origin));
      made.resize(info.bytes);
      octet::Info(info.format).encode(values.data(), info.values(), made.data());
    }
    return std::span<const std::byte>(made);
  }

  void Release(const TensorInfo& info) const override {
    made_.erase(info.name);
    const Origin& origin = OriginOf(info);
    if (origin.source != nullptr) source_->Release(*origin.source);
  }

 private:
  const Origin& OriginOf(const TensorInfo& info) const {
    return origins_[static_cast<size_t>(&info - tensors_.data())];
  }

  Result<std::vector<float>> Make(const TensorInfo& info, const Origin& origin) const {
    if (origin.kind == Origin::Kind::kRouter) {
      std::vector<float> values(static_cast<size_t>(info.values()));
      AddNoise(reshape_.router_std, origin.stream, values);
      return values;
    }
    OCTET_ASSIGN(const auto stored, source_->Data(*origin.source));
    std::vector<float> values(static_cast<size_t>(origin.source->values()));
    octet::Info(origin.source->format)
        .decode(stored.data(), origin.source->values(), values.data());
    if (origin.kind == Origin::Kind::kPooled) return Pool(values, info);
    double squares = 0;
    for (const float v : values) squares += static_cast<double>(v) * v;
    const double rms = std::sqrt(squares / static_cast<double>(values.size()));
    AddNoise(reshape_.noise * rms, origin.stream, values);
    return values;
  }

  void AddNoise(double deviation, uint64_t stream, std::vector<float>& values) const {
    for (size_t i = 0; i < values.size(); ++i)
      values[i] += static_cast<float>(deviation * RandomNormal(reshape_.seed, stream, i));
  }

  /// [old heads · head_dim, cols] → [new heads · head_dim, cols], means of neighbouring heads.
  std::vector<float> Pool(const std::vector<float>& from, const TensorInfo& to) const {
    const int64_t cols = to.shape[1], new_heads = to.shape[0] / head_dim_;
    const int64_t head_values = head_dim_ * cols;
    const int64_t group = static_cast<int64_t>(from.size()) / (new_heads * head_values);
    std::vector<float> pooled(static_cast<size_t>(to.values()));
    for (int64_t h = 0; h < new_heads; ++h) {
      for (int64_t i = 0; i < head_values; ++i) {
        double sum = 0;
        for (int64_t g = 0; g < group; ++g)
          sum += from[static_cast<size_t>((h * group + g) * head_values + i)];
        pooled[static_cast<size_t>(h * head_values + i)] =
            static_cast<float>(sum / static_cast<double>(group));
      }
    }
    return pooled;
  }

  std::unique_ptr<TensorSource> source_;
  Reshape reshape_;
  int64_t head_dim_;
  std::vector<TensorInfo> tensors_;
  std::vector<Origin> origins_;  // beside tensors_
  std::unordered_map<std::string, size_t> index_;
  mutable std::unordered_map<std::string, std::vector<std::byte>> made_;
};

Status CheckReshape(const ModelConfig& config, const Reshape& r, const std::string& where) {
  if (r.experts != 0 && config.is_moe()) {
    return Err(ErrorCode::kInvalidArgument,
               "{}: has {} experts a layer already; upcycling starts from a dense model", where,
               config.n_experts);
  }
  if (r.experts < 0 || r.experts > 1024 ||
      (r.experts > 0 && (r.experts_per_token < 1 || r.experts_per_token > r.experts))) {
    return Err(
        ErrorCode::kInvalidArgument,
        "{} experts of which a token uses {}; expected 1 to 1024 experts, and a token to use at "
        "least one and at most all",
        r.experts, r.experts_per_token);
  }
  if (!(r.noise >= 0 && r.noise <= 10) || !(r.router_std >= 0 && r.router_std <= 10)) {
    return Err(ErrorCode::kInvalidArgument,
               "noise {} or router deviation {} is out of range; expected 0 to 10", r.noise,
               r.router_std);
  }
  if (r.kv_heads < 0 || (r.kv_heads > 0 && config.n_kv_heads % r.kv_heads != 0)) {
    return Err(ErrorCode::kInvalidArgument,
               "{}: its {} key/value heads cannot be pooled to {}; expected a divisor", where,
               config.n_kv_heads, r.kv_heads);
  }
  return {};
}

/// A configuration in Hugging Face's words keeps what else it says.
void UpdateHfConfig(const ModelConfig& config, const Reshape& reshape, nlohmann::json& json) {
  if (reshape.kv_heads > 0) json["num_key_value_heads"] = config.n_kv_heads;
  if (reshape.experts == 0) return;
  json["architectures"] = {"MixtralForCausalLM"};
  json["model_type"] = "mixtral";
  json["num_local_experts"] = config.n_experts;
  json["num_experts_per_tok"] = config.n_experts_per_token;
}

/// The naming for experts one by one that belongs to a dense model's.
Naming WithExperts(Naming dense) {
  return dense == Naming::kGgufMerged ? Naming::kGgufSplit : dense;
}

/// Lists the tensors of the new shape.
class Lister {
 public:
  Lister(const std::string& where, const ModelConfig& from, const ModelConfig& to, Naming naming,
         const Reshape& reshape)
      : where_(where), from_(from), to_(to), naming_(naming), reshape_(reshape) {}

  Status ListInto(ReshapedSource& into) const {
    return reshape_.experts > 0 ? ListUpcycled(into) : ListPooled(into);
  }

 private:
  /// Nothing changes but keys and values: every tensor keeps its name, experts in whatever layout.
  Status ListPooled(ReshapedSource& into) const {
    std::unordered_map<std::string, TensorInfo> pooled;
    for (const TensorSpec& spec : TensorSpecs(to_)) {
      if (!IsPooled(spec)) continue;
      const TensorPlace place = PlaceOf(spec, to_, naming_);
      pooled[place.name].shape = place.file_shape;
    }
    for (const TensorInfo& info : into.source().tensors()) {
      const auto it = pooled.find(info.name);
      if (it == pooled.end()) {
        into.Add(info, {Origin::Kind::kSame, &info});
      } else {
        OCTET_ASSIGN(TensorInfo changed, Changed(info, it->second.shape));
        into.Add(std::move(changed), {Origin::Kind::kPooled, &info});
      }
    }
    return {};
  }

  Status ListUpcycled(ReshapedSource& into) const {
    uint64_t stream = 0;
    for (const TensorSpec& spec : TensorSpecs(to_)) {
      ++stream;
      TensorSpec dense = spec;
      dense.expert = -1;
      const TensorPlace place = PlaceOf(spec, to_, WithExperts(naming_));
      const TensorInfo* base = BaseOf(dense, into.source());
      if (base == nullptr) {
        return Err(ErrorCode::kNotFound,
                   "{}: the tensor for {} is missing; is the download complete?", where_,
                   place.name);
      }
      if (spec.role == TensorRole::kRouter) {
        // Beside the model's other weights, in their type; blocks do not suit a matrix so small.
        const bool is_float = octet::Info(base->format).block_values == 1;
        OCTET_ASSIGN(
            TensorInfo router,
            Changed({place.name, is_float ? base->format : Format::kF32, {}, 0}, spec.shape));
        into.Add(std::move(router), {Origin::Kind::kRouter, nullptr, stream});
        continue;
      }
      OCTET_ASSIGN(TensorInfo info, Changed(*base, spec.shape));
      info.name = place.name;
      Origin origin{Origin::Kind::kSame, base, stream};
      if (IsPooled(spec)) origin.kind = Origin::Kind::kPooled;
      if (spec.expert >= 0 && reshape_.noise > 0) origin.kind = Origin::Kind::kNoisy;
      into.Add(std::move(info), origin);
    }
    return {};
  }

  bool IsPooled(const TensorSpec& spec) const {
    return (spec.role == TensorRole::kWk || spec.role == TensorRole::kWv) &&
           to_.n_kv_heads != from_.n_kv_heads;
  }

  /// For a router, the feed-forward of its layer.
  const TensorInfo* BaseOf(TensorSpec dense, const TensorSource& source) const {
    if (dense.role == TensorRole::kRouter) dense.role = TensorRole::kW1;
    return source.Find(PlaceOf(dense, from_, naming_).name);
  }

  Result<TensorInfo> Changed(const TensorInfo& base, const std::vector<int64_t>& shape) const {
    TensorInfo info = base;
    info.shape = shape;
    const FormatInfo& format = octet::Info(info.format);
    if (format.encode == nullptr) {
      return Err(ErrorCode::kUnsupported,
                 "{}: {} is {}, which nothing here writes; convert it to bf16 first", where_,
                 base.name, format.name);
    }
    if (base.layout != Layout::kRowMajor) {
      return Err(ErrorCode::kUnsupported,
                 "{}: is packed for the kernels of a machine; use the model it was packed from",
                 where_);
    }
    info.bytes = static_cast<uint64_t>(FormatBytes(info.format, info.values()));
    return info;
  }

  std::string where_;
  const ModelConfig &from_, &to_;
  Naming naming_;
  const Reshape& reshape_;
};

}  // namespace

Result<ReshapedCheckpoint> ReshapeCheckpoint(Checkpoint source, const Reshape& reshape) {
  const std::string where = source.path.string();
  OCTET_ASSIGN(const ModelConfig from, ReadModelConfig(source));
  OCTET_TRY(CheckReshape(from, reshape, where));
  OCTET_ASSIGN(const Naming naming, RecogniseNaming(source, from));
  ModelConfig to = from;
  if (reshape.kv_heads > 0) to.n_kv_heads = reshape.kv_heads;
  if (reshape.experts > 0) {
    to.architecture = "mixtral";
    to.n_experts = reshape.experts;
    to.n_experts_per_token = reshape.experts_per_token;
  }
  auto reshaped =
      std::make_unique<ReshapedSource>(std::move(source.tensors), reshape, from.head_dim);
  OCTET_TRY(Lister(where, from, to, naming, reshape).ListInto(*reshaped));
  source.tensors = std::move(reshaped);
  source.gguf = nullptr;
  if (source.kind == CheckpointKind::kHuggingFace) UpdateHfConfig(to, reshape, source.config);
  return ReshapedCheckpoint{std::move(source), std::move(to)};
}

}  // namespace octet
