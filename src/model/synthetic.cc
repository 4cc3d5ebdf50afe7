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

/// Normal values are drawn once into a table and read from random starts: drawing each of billions
/// of weights would take longer than any benchmark.
class NormalTable {
 public:
  explicit NormalTable(uint64_t seed) : values_(kSize) {
    for (size_t i = 0; i < kSize; ++i) values_[i] = static_cast<float>(RandomNormal(seed, 0, i));
  }
  void Fill(uint64_t seed, uint64_t row, float scale, float mean, std::span<float> out) const {
    size_t at = 0;
    for (size_t i = 0; i < out.size(); ++i) {
      if (i % kRun == 0) at = RandomBits(seed, row, i) % (kSize - kRun);
      out[i] = mean + scale * values_[at + i % kRun];
    }
  }

 private:
  static constexpr size_t kSize = 1 << 16, kRun = 64;
  std::vector<float> values_;
};

class MemoryTensors : public TensorSource {
 public:
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* Find(std::string_view name) const override {
    const auto it = index_.find(std::string(name));
    return it == index_.end() ? nullptr : &tensors_[it->second];
  }
  Result<std::span<const std::byte>> Data(const TensorInfo& info) const override {
    return buffers_[index_.at(info.name)].bytes();
  }
  void Release(const TensorInfo&) const override {}
  const GgufMetadata& metadata() const { return metadata_; }
  GgufMetadata& mutable_metadata() { return metadata_; }

  Result<Buffer*> Add(TensorInfo info) {
    OCTET_ASSIGN(Buffer buffer, Buffer::Allocate(info.bytes, info.name));
    index_[info.name] = tensors_.size();
    tensors_.push_back(std::move(info));
    buffers_.push_back(std::move(buffer));
    return &buffers_.back();
  }

 private:
  std::vector<TensorInfo> tensors_;
  std::vector<Buffer> buffers_;
  std::unordered_map<std::string, size_t> index_;
  GgufMetadata metadata_;
};

void Describe(const ModelConfig& c, GgufMetadata& metadata) {
  auto& values = metadata.values();
  const auto set = [&](const char* key, int64_t value) {
    values[std::string("llama.") + key] = static_cast<uint64_t>(value);
  };
  values["general.architecture"] = std::string("llama");
  values["general.name"] = std::string("synthetic");
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

bool StaysFloat(const TensorSpec& spec) {
  return spec.shape.size() == 1 || spec.role == TensorRole::kRouter;
}

}  // namespace

Result<Checkpoint> MakeSyntheticCheckpoint(const ModelConfig& config,
                                           const SyntheticOptions& options) {
  auto source = std::make_unique<MemoryTensors>();
  Describe(config, source->mutable_metadata());
  const NormalTable normal(options.seed);
  std::vector<float> row;
  uint64_t stream = 1;
  for (const TensorSpec& spec : TensorSpecs(config)) {
    const TensorPlace place = PlaceOf(spec, config, Naming::kGgufSplit);
    TensorInfo info{place.name, StaysFloat(spec) ? Format::kF32 : options.matrices, spec.shape, 0};
    const FormatInfo& format = Info(info.format);
    const int64_t cols = spec.shape.back(), rows = spec.shape.size() == 1 ? 1 : spec.shape[0];
    if (cols % format.block_values != 0 || format.encode == nullptr) {
      return Err(ErrorCode::kInvalidArgument, "synthetic {}: rows of {} values cannot be {}",
                 info.name, cols, format.name);
    }
    const int64_t row_bytes = FormatBytes(info.format, cols);
    info.bytes = static_cast<uint64_t>(rows * row_bytes);
    OCTET_ASSIGN(Buffer * buffer, source->Add(std::move(info)));
    row.resize(static_cast<size_t>(cols));
    const bool norm = spec.shape.size() == 1;
    const float scale =
        norm ? 0.1f : static_cast<float>(1.0 / std::sqrt(static_cast<double>(cols)));
    for (int64_t r = 0; r < rows; ++r) {
      normal.Fill(options.seed + 1, stream++, scale, norm ? 1.0f : 0.0f, row);
      format.encode(row.data(), cols, buffer->data() + r * row_bytes);
    }
  }
  Checkpoint checkpoint;
  checkpoint.kind = CheckpointKind::kGguf;
  checkpoint.path = "synthetic";
  checkpoint.gguf = &source->metadata();
  checkpoint.tensors = std::move(source);
  return checkpoint;
}

}  // namespace octet
