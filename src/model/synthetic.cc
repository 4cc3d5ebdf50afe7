#include "model/synthetic.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "base/check.h"
#include "base/rng.h"
#include "model/tensor_specs.h"

namespace octet {
namespace {

/// Encoded runs of normal values with variance 1/cols, drawn once for a format and a row length; a
/// row is put together from randomly chosen runs. Drawing and encoding each of billions of weights
/// would take longer than any benchmark.
class RunPool {
 public:
  RunPool(const FormatInfo& format, int64_t cols, uint64_t seed)
      : format_(format), cols_(cols), seed_(seed) {
    run_values_ = cols % kRunValues == 0 ? kRunValues : cols;
    run_bytes_ = FormatBytes(format.format, run_values_);
    bytes_.resize(static_cast<size_t>(kRuns * run_bytes_));
    std::vector<float> values(static_cast<size_t>(run_values_));
    const double scale = 1.0 / std::sqrt(static_cast<double>(cols));
    for (int64_t run = 0; run < kRuns; ++run) {
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(
            scale * RandomNormal(seed, static_cast<uint64_t>(run * 2 * cols), i));
      }
      format.encode(values.data(), run_values_, bytes_.data() + run * run_bytes_);
    }
  }
  bool Fits(const FormatInfo& format, int64_t cols) const {
    return format_.format == format.format && cols_ == cols;
  }

  /// Fills the rows of one tensor; `stream` tells tensors apart.
  void Fill(int64_t rows, uint64_t stream, std::byte* out) const {
    const int64_t runs = rows * (cols_ / run_values_);
    for (int64_t i = 0; i < runs; ++i) {
      const auto run =
          static_cast<int64_t>(RandomBits(seed_ + 1, stream, static_cast<uint64_t>(i)) % kRuns);
      std::memcpy(out + i * run_bytes_, bytes_.data() + run * run_bytes_,
                  static_cast<size_t>(run_bytes_));
    }
  }

 private:
  static constexpr int64_t kRuns = 1024, kRunValues = 256;
  const FormatInfo& format_;
  int64_t cols_;
  uint64_t seed_;
  int64_t run_values_ = 0, run_bytes_ = 0;
  std::vector<std::byte> bytes_;
};

void FillNorm(int64_t n, uint64_t seed, uint64_t stream, std::byte* out) {
  for (int64_t i = 0; i < n; ++i) {
    const auto value =
        static_cast<float>(1.0 + 0.1 * RandomNormal(seed + 2, stream, static_cast<uint64_t>(i)));
    std::memcpy(out + i * static_cast<int64_t>(sizeof value), &value, sizeof value);
  }
}

/// What a tensor is made of, until it is wanted.
struct Draft {
  const RunPool* pool = nullptr;  // null: a norm
  int64_t rows = 1;
  uint64_t stream = 0;  // tells tensors apart
};

/// Draws a tensor when it is asked for, so that whoever goes through them one after another and
/// releases them never holds the model.
class SyntheticTensors : public TensorSource {
 public:
  explicit SyntheticTensors(uint64_t seed) : seed_(seed) {}

  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* Find(std::string_view name) const override {
    const auto it = index_.find(std::string(name));
    return it == index_.end() ? nullptr : &tensors_[it->second];
  }
  Result<std::span<const std::byte>> Data(const TensorInfo& info) const override {
    const size_t i = index_.at(info.name);
    Buffer& buffer = buffers_[i];
    if (buffer.size() == 0) {
      OCTET_ASSIGN(buffer, Buffer::Allocate(info.bytes, info.name));
      const Draft& draft = drafts_[i];
      if (draft.pool == nullptr) {
        FillNorm(info.values(), seed_, draft.stream, buffer.data());
      } else {
        draft.pool->Fill(draft.rows, draft.stream, buffer.data());
      }
    }
    return buffer.bytes();
  }
  void Release(const TensorInfo& info) const override { buffers_[index_.at(info.name)] = Buffer(); }
  const GgufMetadata& metadata() const { return metadata_; }
  GgufMetadata& mutable_metadata() { return metadata_; }

  /// The pool of a format and row length, made on first use.
  const RunPool* PoolFor(const FormatInfo& format, int64_t cols) {
    auto pool = std::find_if(pools_.begin(), pools_.end(),
                             [&](const auto& p) { return p->Fits(format, cols); });
    if (pool == pools_.end())
      pool = pools_.insert(pools_.end(), std::make_unique<RunPool>(format, cols, seed_));
    return pool->get();
  }
  void Add(TensorInfo info, const Draft& draft) {
    index_[info.name] = tensors_.size();
    tensors_.push_back(std::move(info));
    drafts_.push_back(draft);
    buffers_.emplace_back();
  }

 private:
  uint64_t seed_;
  std::vector<TensorInfo> tensors_;
  std::vector<Draft> drafts_;            // [tensors]
  mutable std::vector<Buffer> buffers_;  // [tensors] empty until asked for
  std::vector<std::unique_ptr<RunPool>> pools_;
  std::unordered_map<std::string, size_t> index_;
  GgufMetadata metadata_;
};

void Describe(const ModelConfig& c, const std::string& name, GgufMetadata& metadata) {
  auto& values = metadata.values();
  const auto set = [&](const char* key, int64_t value) {
    values[std::string("llama.") + key] = static_cast<uint64_t>(value);
  };
  values["general.architecture"] = std::string("llama");
  values["general.name"] = name;
  set("block_count", c.n_layers);
  set("embedding_length", c.d_model);
  set("attention.head_count", c.n_heads);
  set("attention.head_count_kv", c.n_kv_heads);
  set("attention.key_length", c.head_dim);
  set("attention.value_length", c.head_dim);
  set("rope.dimension_count", c.head_dim);
  set("feed_forward_length", c.d_ff);
  set("context_length", c.context_len);
  set("vocab_size", c.vocab_size);
  if (c.sliding_window > 0) set("attention.sliding_window", c.sliding_window);
  if (c.is_moe()) {
    set("expert_count", c.n_experts);
    set("expert_used_count", c.n_experts_per_token);
  }
  values["llama.attention.layer_norm_rms_epsilon"] = c.norm_eps;
  values["llama.rope.freq_base"] = c.rope_theta;
}

Format FormatOf(const TensorSpec& spec, const std::string& name, const SyntheticOptions& options) {
  if (spec.shape.size() == 1 || spec.role == TensorRole::kRouter) return Format::kF32;
  return options.choose ? options.choose(spec, name) : options.matrices;
}

}  // namespace

Result<Checkpoint> MakeSyntheticCheckpoint(const ModelConfig& config,
                                           const SyntheticOptions& options) {
  auto source = std::make_unique<SyntheticTensors>(options.seed);
  Describe(config, options.name, source->mutable_metadata());
  uint64_t stream = 0;
  for (const TensorSpec& spec : TensorSpecs(config)) {
    const TensorPlace place = PlaceOf(spec, config, Naming::kGgufSplit);
    TensorInfo info{place.name, FormatOf(spec, place.name, options), spec.shape, 0};
    const FormatInfo& format = Info(info.format);
    const bool norm = spec.shape.size() == 1;
    const int64_t cols = spec.shape.back(), rows = norm ? 1 : spec.shape[0];
    if (cols % format.block_values != 0 || format.encode == nullptr) {
      return Err(ErrorCode::kInvalidArgument, "synthetic {}: rows of {} values cannot be {}",
                 info.name, cols, format.name);
    }
    info.bytes = static_cast<uint64_t>(rows * FormatBytes(info.format, cols));
    source->Add(std::move(info), {norm ? nullptr : source->PoolFor(format, cols), rows, ++stream});
  }
  Checkpoint checkpoint;
  checkpoint.kind = CheckpointKind::kGguf;
  checkpoint.path = options.name;
  checkpoint.gguf = &source->metadata();
  checkpoint.tensors = std::move(source);
  return checkpoint;
}

}  // namespace octet
