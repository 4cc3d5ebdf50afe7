// The one list of a model's tensors: what they are, their shapes, and their names in every file
// layout.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace octet {

enum class TensorRole : uint8_t {
  kEmbedding,
  kFinalNorm,
  kHead,
  kAttnNorm,
  kWq,
  kWk,
  kWv,
  kWo,
  kFfnNorm,
  kRouter,
  kRouterBias,  // [n_experts], with config.router_bias alone
  kW1,          // gate  [d_ff, d_model]
  kW2,          // down  [d_model, d_ff]
  kW3,          // up    [d_ff, d_model]
};

struct TensorSpec {
  TensorRole role;
  int32_t layer = -1;   // -1: not of a layer
  int32_t expert = -1;  // -1: not of an expert (also the one feed-forward of a dense model)
  std::vector<int64_t> shape;
};

/// Every tensor in canonical order: embedding, layers (attention, norms, router, experts), final
/// norm, head (absent when tied).
std::vector<TensorSpec> TensorSpecs(const ModelConfig& config);

/// How a file names tensors.
enum class Naming : uint8_t {
  kHfSplit,  // model.layers.N.block_sparse_moe.experts.E.w1.weight; dense: mlp.gate_proj
  kHfFused,  // model.layers.N.mlp.experts.gate_up_proj [E, 2·d_ff, d_model], down_proj [E, d_model,
             // d_ff]
  kMistral,         // layers.N.feed_forward.experts.E.w1.weight; dense: feed_forward.w1.weight
  kMistralStacked,  // layers.N.block_sparse_moe.w1 [E·d_ff, d_model], w2 transposed (first torrent)
  kGgufMerged,      // blk.N.ffn_gate_exps.weight [E, d_ff, d_model]; dense: ffn_gate
  kGgufSplit,       // blk.N.ffn_gate.E.weight
};

/// Where a spec's values are inside a file.
struct TensorPlace {
  std::string name;  // of the file's tensor
  int64_t first_row =
      0;  // its rows [first_row, first_row + shape[0]) once flattened to two dimensions
  bool transposed = false;          // the slice is [shape[1], shape[0]] (kMistralStacked w2)
  std::vector<int64_t> file_shape;  // the whole tensor's expected shape
};
TensorPlace PlaceOf(const TensorSpec& spec, const ModelConfig& config, Naming naming);

/// The naming a checkpoint uses, from the names it has. kUnsupported lists what was looked for.
Result<Naming> RecogniseNaming(const Checkpoint& checkpoint, const ModelConfig& config);

}  // namespace octet
