// A model of a few kilobytes, written in any file layout from one formula.
#pragma once

#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/rng.h"
#include "io/safetensors_writer.h"
#include "model/config.h"
#include "model/tensor_specs.h"

namespace octet::testing {

inline ModelConfig TinyConfig(int64_t n_experts = 3) {
  ModelConfig c;
  c.architecture = n_experts > 0 ? "mixtral" : "mistral";
  c.n_layers = 2;
  c.d_model = 16;
  c.n_heads = 4;
  c.n_kv_heads = 2;
  c.head_dim = 6;  // not d_model / n_heads
  c.d_ff = 10;
  c.n_experts = n_experts;
  c.n_experts_per_token = n_experts > 0 ? 2 : 0;
  c.vocab_size = 7;
  c.context_len = 64;
  c.rope_theta = 1e6;
  return c;
}

/// Rows of wq and wk as Mistral's files have them; exact in BF16 and F16.
inline float TinyValue(const TensorSpec& spec, int64_t row, int64_t col) {
  const auto stream = (static_cast<uint64_t>(spec.layer + 1) * 64 + (spec.expert + 1)) * 16 +
                      static_cast<uint64_t>(spec.role);
  const uint64_t bits = RandomBits(1, stream, static_cast<uint64_t>(row * 1000 + col));
  return static_cast<float>(static_cast<int>(bits % 255) - 127) / 64.0f;
}

/// The row of the Mistral order that Hugging Face has at `row`: pair (2i, 2i+1) is (i, i + D/2).
inline int64_t MistralRowOfHf(int64_t row, int64_t head_dim) {
  const int64_t d = row % head_dim, half = head_dim / 2;
  return row - d + (d < half ? 2 * d : 2 * (d - half) + 1);
}

inline bool IsHf(Naming naming) { return naming == Naming::kHfSplit || naming == Naming::kHfFused; }

/// One spec's values, dense, as the naming orders rows, not transposed.
inline std::vector<float> TinySlice(const TensorSpec& spec, const ModelConfig& c, Naming naming) {
  const bool turns = spec.role == TensorRole::kWq || spec.role == TensorRole::kWk;
  const int64_t cols = spec.shape.back(), rows = spec.shape.size() == 2 ? spec.shape[0] : 1;
  std::vector<float> values;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t row = turns && IsHf(naming) ? MistralRowOfHf(r, c.head_dim) : r;
    for (int64_t col = 0; col < cols; ++col) values.push_back(TinyValue(spec, row, col));
  }
  return values;
}

/// Every tensor of a file in that layout.
inline std::map<std::string, std::vector<float>> TinyTensors(const ModelConfig& c, Naming naming) {
  std::map<std::string, std::vector<float>> tensors;
  for (const TensorSpec& spec : TensorSpecs(c)) {
    const TensorPlace place = PlaceOf(spec, c, naming);
    std::vector<float>& whole = tensors[place.name];
    int64_t size = 1;
    for (const int64_t d : place.file_shape) size *= d;
    whole.resize(size);
    const std::vector<float> slice = TinySlice(spec, c, naming);
    const int64_t cols = spec.shape.back(), rows = static_cast<int64_t>(slice.size()) / cols;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t col = 0; col < cols; ++col) {
        const int64_t at = place.transposed ? (place.first_row + col) * rows + r
                                            : (place.first_row + r) * cols + col;
        whole[at] = slice[r * cols + col];
      }
    }
  }
  return tensors;
}

inline nlohmann::json TinyJson(const ModelConfig& c, Naming naming) {
  if (!IsHf(naming)) {
    nlohmann::json params = {{"dim", c.d_model},           {"n_layers", c.n_layers},
                             {"n_heads", c.n_heads},       {"n_kv_heads", c.n_kv_heads},
                             {"head_dim", c.head_dim},     {"hidden_dim", c.d_ff},
                             {"norm_eps", c.norm_eps},     {"rope_theta", c.rope_theta},
                             {"vocab_size", c.vocab_size}, {"max_seq_len", c.context_len}};
    if (c.is_moe()) {
      params["moe"] = {{"num_experts", c.n_experts},
                       {"num_experts_per_tok", c.n_experts_per_token}};
    }
    return params;
  }
  return {{"model_type", c.architecture},
          {"hidden_size", c.d_model},
          {"num_hidden_layers", c.n_layers},
          {"num_attention_heads", c.n_heads},
          {"num_key_value_heads", c.n_kv_heads},
          {"head_dim", c.head_dim},
          {"intermediate_size", c.d_ff},
          {"num_local_experts", c.n_experts},
          {"num_experts_per_tok", c.n_experts_per_token},
          {"vocab_size", c.vocab_size},
          {"max_position_embeddings", c.context_len},
          {"rms_norm_eps", c.norm_eps},
          {"rope_theta", c.rope_theta},
          {"torch_dtype", "float32"}};
}

/// A folder with config.json or params.json and one safetensors file in `format`.
inline void WriteTinyCheckpoint(const std::filesystem::path& folder, const ModelConfig& c,
                                Naming naming, Format format) {
  auto check = [](const Status& status) {
    if (!status) throw std::runtime_error(status.error().message);
  };
  const auto tensors = TinyTensors(c, naming);
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const TensorSpec& spec : TensorSpecs(c)) {
    const TensorPlace place = PlaceOf(spec, c, naming);
    shapes[place.name] = place.file_shape;
  }
  std::vector<TensorInfo> infos;
  for (const auto& [name, values] : tensors) {
    infos.push_back(
        {name, format, shapes[name], static_cast<uint64_t>(FormatBytes(format, values.size()))});
  }
  auto writer = SafetensorsWriter::Create(folder, infos);
  if (!writer) throw std::runtime_error(writer.error().message);
  for (const auto& [name, values] : tensors) {
    std::vector<std::byte> bytes(FormatBytes(format, values.size()));
    Info(format).encode(values.data(), values.size(), bytes.data());
    check(writer->Append(bytes));
  }
  check(writer->Commit());
  if (!IsHf(naming)) {
    std::filesystem::rename(folder / "model.safetensors", folder / "consolidated.safetensors");
  }
  check(WriteFileAtomically(folder / (IsHf(naming) ? "config.json" : "params.json"),
                            TinyJson(c, naming).dump()));
}

}  // namespace octet::testing
