#include "model/tensor_specs.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace octet {
namespace {

bool IsExpertMatrix(TensorRole role) {
  return role == TensorRole::kW1 || role == TensorRole::kW2 || role == TensorRole::kW3;
}

std::string HfName(const TensorSpec& spec) {
  const std::string layer = fmt::format("model.layers.{}.", spec.layer);
  switch (spec.role) {
    case TensorRole::kEmbedding:
      return "model.embed_tokens.weight";
    case TensorRole::kFinalNorm:
      return "model.norm.weight";
    case TensorRole::kHead:
      return "lm_head.weight";
    case TensorRole::kAttnNorm:
      return layer + "input_layernorm.weight";
    case TensorRole::kWq:
      return layer + "self_attn.q_proj.weight";
    case TensorRole::kWk:
      return layer + "self_attn.k_proj.weight";
    case TensorRole::kWv:
      return layer + "self_attn.v_proj.weight";
    case TensorRole::kWo:
      return layer + "self_attn.o_proj.weight";
    case TensorRole::kFfnNorm:
      return layer + "post_attention_layernorm.weight";
    case TensorRole::kRouter:
      return layer + "block_sparse_moe.gate.weight";
    case TensorRole::kRouterBias:
      return layer + "block_sparse_moe.gate.e_score_correction_bias";
    case TensorRole::kW1:
    case TensorRole::kW2:
    case TensorRole::kW3:
      break;
  }
  const bool w1 = spec.role == TensorRole::kW1, w2 = spec.role == TensorRole::kW2;
  if (spec.expert >= 0) {
    return layer + fmt::format("block_sparse_moe.experts.{}.{}.weight", spec.expert,
                               w1   ? "w1"
                               : w2 ? "w2"
                                    : "w3");
  }
  return layer + fmt::format("mlp.{}.weight", w1 ? "gate_proj" : w2 ? "down_proj" : "up_proj");
}

std::string MistralName(const TensorSpec& spec) {
  const std::string layer = fmt::format("layers.{}.", spec.layer);
  const std::string expert = spec.expert >= 0 ? fmt::format("experts.{}.", spec.expert) : "";
  switch (spec.role) {
    case TensorRole::kEmbedding:
      return "tok_embeddings.weight";
    case TensorRole::kFinalNorm:
      return "norm.weight";
    case TensorRole::kHead:
      return "output.weight";
    case TensorRole::kAttnNorm:
      return layer + "attention_norm.weight";
    case TensorRole::kWq:
      return layer + "attention.wq.weight";
    case TensorRole::kWk:
      return layer + "attention.wk.weight";
    case TensorRole::kWv:
      return layer + "attention.wv.weight";
    case TensorRole::kWo:
      return layer + "attention.wo.weight";
    case TensorRole::kFfnNorm:
      return layer + "ffn_norm.weight";
    case TensorRole::kRouter:
      return layer + "feed_forward.gate.weight";
    case TensorRole::kRouterBias:
      return layer + "feed_forward.gate.bias";
    case TensorRole::kW1:
      return layer + "feed_forward." + expert + "w1.weight";
    case TensorRole::kW2:
      return layer + "feed_forward." + expert + "w2.weight";
    case TensorRole::kW3:
      return layer + "feed_forward." + expert + "w3.weight";
  }
  return {};
}

std::string GgufName(const TensorSpec& spec, bool split) {
  const std::string layer = fmt::format("blk.{}.", spec.layer);
  switch (spec.role) {
    case TensorRole::kEmbedding:
      return "token_embd.weight";
    case TensorRole::kFinalNorm:
      return "output_norm.weight";
    case TensorRole::kHead:
      return "output.weight";
    case TensorRole::kAttnNorm:
      return layer + "attn_norm.weight";
    case TensorRole::kWq:
      return layer + "attn_q.weight";
    case TensorRole::kWk:
      return layer + "attn_k.weight";
    case TensorRole::kWv:
      return layer + "attn_v.weight";
    case TensorRole::kWo:
      return layer + "attn_output.weight";
    case TensorRole::kFfnNorm:
      return layer + "ffn_norm.weight";
    case TensorRole::kRouter:
      return layer + "ffn_gate_inp.weight";
    case TensorRole::kRouterBias:
      return layer + "exp_probs_b.bias";
    case TensorRole::kW1:
    case TensorRole::kW2:
    case TensorRole::kW3:
      break;
  }
  const char* which = spec.role == TensorRole::kW1   ? "gate"
                      : spec.role == TensorRole::kW2 ? "down"
                                                     : "up";
  if (spec.expert < 0) return layer + fmt::format("ffn_{}.weight", which);
  if (split) return layer + fmt::format("ffn_{}.{}.weight", which, spec.expert);
  return layer + fmt::format("ffn_{}_exps.weight", which);
}

/// An expert's slice of a tensor that stacks all experts: [E, rows, cols], or [E·rows, cols] when
/// flat.
TensorPlace StackedPlace(std::string name, const TensorSpec& spec, const ModelConfig& config) {
  TensorPlace place;
  place.name = std::move(name);
  place.first_row = spec.expert * spec.shape[0];
  place.file_shape = {config.n_experts, spec.shape[0], spec.shape[1]};
  return place;
}

TensorPlace FusedHfPlace(const TensorSpec& spec, const ModelConfig& config) {
  const std::string prefix = fmt::format("model.layers.{}.mlp.experts.", spec.layer);
  if (spec.role == TensorRole::kW2) return StackedPlace(prefix + "down_proj", spec, config);
  TensorPlace place;
  place.name = prefix + "gate_up_proj";
  // Rows of one expert: d_ff of the gate (w1), then d_ff of up (w3).
  place.first_row = (2 * spec.expert + (spec.role == TensorRole::kW3 ? 1 : 0)) * config.d_ff;
  place.file_shape = {config.n_experts, 2 * config.d_ff, config.d_model};
  return place;
}

TensorPlace StackedMistralPlace(const TensorSpec& spec, const ModelConfig& config) {
  TensorPlace place;
  const char* which = spec.role == TensorRole::kW1   ? "w1"
                      : spec.role == TensorRole::kW2 ? "w2"
                                                     : "w3";
  place.name = fmt::format("layers.{}.block_sparse_moe.{}", spec.layer, which);
  place.first_row = spec.expert * config.d_ff;
  place.transposed = spec.role == TensorRole::kW2;
  place.file_shape = {config.n_experts * config.d_ff, config.d_model};
  return place;
}

}  // namespace

std::vector<TensorSpec> TensorSpecs(const ModelConfig& c) {
  std::vector<TensorSpec> specs;
  specs.reserve(static_cast<size_t>(3 + c.n_layers * (7 + 3 * c.feed_forwards())));
  specs.push_back({TensorRole::kEmbedding, -1, -1, {c.vocab_size, c.d_model}});
  for (int32_t layer = 0; layer < c.n_layers; ++layer) {
    specs.push_back({TensorRole::kAttnNorm, layer, -1, {c.d_model}});
    specs.push_back({TensorRole::kWq, layer, -1, {c.q_dim(), c.d_model}});
    specs.push_back({TensorRole::kWk, layer, -1, {c.kv_dim(), c.d_model}});
    specs.push_back({TensorRole::kWv, layer, -1, {c.kv_dim(), c.d_model}});
    specs.push_back({TensorRole::kWo, layer, -1, {c.d_model, c.q_dim()}});
    specs.push_back({TensorRole::kFfnNorm, layer, -1, {c.d_model}});
    if (c.is_moe()) specs.push_back({TensorRole::kRouter, layer, -1, {c.n_experts, c.d_model}});
    if (c.is_moe() && c.router_bias)
      specs.push_back({TensorRole::kRouterBias, layer, -1, {c.n_experts}});
    for (int32_t e = 0; e < c.feed_forwards(); ++e) {
      const int32_t expert = c.is_moe() ? e : -1;
      specs.push_back({TensorRole::kW1, layer, expert, {c.d_ff, c.d_model}});
      specs.push_back({TensorRole::kW2, layer, expert, {c.d_model, c.d_ff}});
      specs.push_back({TensorRole::kW3, layer, expert, {c.d_ff, c.d_model}});
    }
  }
  specs.push_back({TensorRole::kFinalNorm, -1, -1, {c.d_model}});
  if (!c.tied_embeddings) specs.push_back({TensorRole::kHead, -1, -1, {c.vocab_size, c.d_model}});
  return specs;
}

TensorPlace PlaceOf(const TensorSpec& spec, const ModelConfig& config, Naming naming) {
  if (IsExpertMatrix(spec.role) && spec.expert >= 0) {
    if (naming == Naming::kHfFused) return FusedHfPlace(spec, config);
    if (naming == Naming::kMistralStacked) return StackedMistralPlace(spec, config);
    if (naming == Naming::kGgufMerged) return StackedPlace(GgufName(spec, false), spec, config);
  }
  TensorPlace place;
  place.file_shape = spec.shape;
  switch (naming) {
    case Naming::kHfSplit:
      place.name = HfName(spec);
      break;
    case Naming::kHfFused:
      place.name = spec.role == TensorRole::kRouter
                       ? fmt::format("model.layers.{}.mlp.gate.weight", spec.layer)
                       : HfName(spec);
      break;
    case Naming::kMistral:
      place.name = MistralName(spec);
      break;
    case Naming::kMistralStacked:
      place.name = spec.role == TensorRole::kRouter
                       ? fmt::format("layers.{}.block_sparse_moe.gate.weight", spec.layer)
                       : MistralName(spec);
      break;
    case Naming::kGgufMerged:
    case Naming::kGgufSplit:
      place.name = GgufName(spec, naming == Naming::kGgufSplit);
      break;
  }
  return place;
}

Result<Naming> RecogniseNaming(const Checkpoint& checkpoint, const ModelConfig& config) {
  const auto has = [&](const char* name) {
    const auto& missing = checkpoint.missing_tensors;
    return checkpoint.tensors->Find(name) != nullptr ||
           std::find(missing.begin(), missing.end(), name) != missing.end();
  };
  switch (checkpoint.kind) {
    case CheckpointKind::kHuggingFace:
      if (has("model.layers.0.mlp.experts.gate_up_proj")) return Naming::kHfFused;
      if (has("model.embed_tokens.weight")) return Naming::kHfSplit;
      break;
    case CheckpointKind::kMistral:
      if (has("layers.0.block_sparse_moe.w1")) return Naming::kMistralStacked;
      if (has("tok_embeddings.weight")) return Naming::kMistral;
      break;
    case CheckpointKind::kGguf:
      if (config.is_moe() && has("blk.0.ffn_gate.0.weight")) return Naming::kGgufSplit;
      if (has("token_embd.weight")) return Naming::kGgufMerged;
      break;
  }
  const auto& tensors = checkpoint.tensors->tensors();
  return Err(ErrorCode::kUnsupported,
             "{}: no embedding tensor under any known name (model.embed_tokens.weight, "
             "tok_embeddings.weight, "
             "token_embd.weight); the file has {} tensors{}; expected a Mixtral, Mistral or Llama "
             "checkpoint",
             checkpoint.path.string(), tensors.size(),
             tensors.empty() ? "" : ", the first is " + tensors.front().name);
}

}  // namespace octet
