// Low-rank adapters of a model: which matrices have one, their values, and the files of Hugging
// Face's PEFT and of Mistral. The arithmetic is ops/lora.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/result.h"
#include "model/config.h"
#include "model/parameters.h"
#include "model/tensor_specs.h"
#include "model/weights.h"

namespace octet {

struct LoraOptions {
  int64_t rank = 8;
  double alpha = 16;  // scale = alpha / rank
  /// Last parts of Hugging Face names: q_proj, k_proj, v_proj, o_proj, w1, w2, w3, gate (the
  /// router); a dense model's gate_proj, up_proj, down_proj.
  std::vector<std::string> targets = {"q_proj", "k_proj", "v_proj", "o_proj"};
};

/// What adapters are written as (docs/formats/adapters.md).
enum class AdapterFormat : uint8_t {
  kPeft,       // every expert's matrices by themselves, as Transformers up to 4 names them
  kPeftFused,  // a layer's experts in one tensor, as Transformers from 5 on names them
  kMistral,    // lora.safetensors and params.json
};

class Adapters {
 public:
  struct Entry {
    TensorSpec spec;   // of the matrix
    std::string name;  // Hugging Face's, without ".weight"
    int64_t rows = 0, cols = 0;
    int64_t rank = 0;
    float scale = 1;       // of B A
    int64_t a = 0, b = 0;  // offsets of A [rank, cols] and B [rows, rank]
  };

  /// Zeros: an adapter that changes nothing, or gradients. kInvalidArgument for a target that no
  /// matrix of the model has; the message lists those it has.
  static Result<Adapters> Create(const ModelConfig& config, const LoraOptions& options);

  /// A folder with adapter_config.json and adapter_model.safetensors (PEFT), or lora.safetensors
  /// and params.json (Mistral), or one of these files. A tensor that fits no matrix of the model is
  /// an error, never dropped.
  static Result<Adapters> Load(const std::filesystem::path& path, const ModelConfig& config);

  /// The format's two files. `base` names the model they are for. kUnsupported when ranks or scales
  /// differ, as they may in adapters that were read.
  Status Save(const std::filesystem::path& folder, const std::string& base,
              AdapterFormat format = AdapterFormat::kPeft) const;

  /// A uniform within ±1/√cols (PEFT's initialisation), B zero: the model is unchanged at first.
  void Initialise(uint64_t seed);

  /// Points the weights' matrices at the adapters. This object must outlive them and not move.
  void AttachTo(Weights& weights);
  /// The same places as gradients.
  void AddViewsTo(Gradients& gradients);

  const std::vector<Entry>& entries() const { return entries_; }
  const LoraOptions& options() const { return options_; }
  /// Multiplies what was trained: `--lora FILE:0.5`.
  void Scale(double factor) {
    for (Entry& e : entries_) e.scale = static_cast<float>(e.scale * factor);
  }
  std::span<float> A(const Entry& e) { return values(e.a, e.rank * e.cols); }
  std::span<float> B(const Entry& e) { return values(e.b, e.rank * e.rows); }
  std::span<const float> A(const Entry& e) const {
    return {values_.as<float>() + e.a, static_cast<size_t>(e.rank * e.cols)};
  }
  std::span<const float> B(const Entry& e) const {
    return {values_.as<float>() + e.b, static_cast<size_t>(e.rank * e.rows)};
  }

 private:
  Adapters() = default;
  /// Another entry; its values are there once Allocate was called.
  void Add(const TensorSpec& spec, int64_t rank, double scale);
  Status Allocate();
  std::span<float> values(int64_t offset, int64_t n) {
    return {values_.as<float>() + offset, static_cast<size_t>(n)};
  }
  /// A copy whose rows of wq and wk are in that order.
  Result<Adapters> InOrder(RopePairing pairing) const;
  void PermuteB(bool to_halves);

  ModelConfig config_;
  LoraOptions options_;
  std::vector<Entry> entries_;
  int64_t size_ = 0;  // floats
  Buffer values_;
  std::vector<AdapterMatrix> matrices_;  // one an entry, once attached
};

}  // namespace octet
