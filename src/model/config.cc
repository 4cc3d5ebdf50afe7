#include "model/config.h"

#include <cmath>
#include <limits>
#include <optional>

#include "base/log.h"
#include "model/packing.h"
#include "model/tensor_specs.h"

namespace octet {
namespace {

using nlohmann::json;

/// Reads keys of one JSON object and says which one is wrong.
class KeyReader {
 public:
  KeyReader(const json& object, std::string where) : object_(object), where_(std::move(where)) {}

  bool Has(const char* key) const { return object_.contains(key) && !object_.at(key).is_null(); }

  Result<int64_t> Int(const char* key, std::optional<int64_t> fallback = {}) const {
    if (!Has(key)) {
      if (fallback) return *fallback;
      return Err(ErrorCode::kCorrupt, "{}: key {} is missing", where_, key);
    }
    const json& value = object_.at(key);
    if (!value.is_number_integer()) {
      return Err(ErrorCode::kCorrupt, "{}: {} is {}, expected an integer", where_, key,
                 value.dump().substr(0, 40));
    }
    if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{1} << 40) {
      return Err(ErrorCode::kCorrupt, "{}: {} is {}, which no model has", where_, key,
                 value.get<uint64_t>());
    }
    return value.get<int64_t>();
  }

  Result<double> Number(const char* key, std::optional<double> fallback = {}) const {
    if (!Has(key)) {
      if (fallback) return *fallback;
      return Err(ErrorCode::kCorrupt, "{}: key {} is missing", where_, key);
    }
    const json& value = object_.at(key);
    if (!value.is_number()) {
      return Err(ErrorCode::kCorrupt, "{}: {} is {}, expected a number", where_, key,
                 value.dump().substr(0, 40));
    }
    return value.get<double>();
  }

  bool Flag(const char* key) const {
    return Has(key) && object_.at(key).is_boolean() && object_.at(key).get<bool>();
  }
  std::string Text(const char* key) const {
    return Has(key) && object_.at(key).is_string() ? object_.at(key).get<std::string>() : "";
  }
  const json* Object(const char* key) const {
    return Has(key) && object_.at(key).is_object() ? &object_.at(key) : nullptr;
  }
  const std::string& where() const { return where_; }

 private:
  const json& object_;
  std::string where_;
};

/// The early Mixtral configs gave a window that the model does not have (transformers #29436).
bool IsEarlyMixtralWindow(const ModelConfig& c) {
  return c.is_moe() && c.sliding_window == 4096 && c.context_len == 32768 && c.d_model == 4096 &&
         c.n_layers == 32;
}

Status ReadHfRope(const KeyReader& keys, ModelConfig& c) {
  // transformers 5 moved theta and scaling into rope_parameters.
  const json* parameters = keys.Object("rope_parameters");
  const json* scaling = parameters != nullptr ? parameters : keys.Object("rope_scaling");
  OCTET_ASSIGN(c.rope_theta, keys.Number("rope_theta", 1e4));
  if (scaling == nullptr) return {};
  const KeyReader rope(
      *scaling, keys.where() + (parameters != nullptr ? ": rope_parameters" : ": rope_scaling"));
  OCTET_ASSIGN(c.rope_theta, rope.Number("rope_theta", c.rope_theta));
  std::string type = rope.Text("rope_type");
  if (type.empty()) type = rope.Text("type");
  if (type.empty() || type == "default") return {};
  if (type != "linear") {
    return Err(ErrorCode::kUnsupported, "{}: RoPE scaling \"{}\"; expected none or linear",
               keys.where(), type);
  }
  OCTET_ASSIGN(const double factor, rope.Number("factor"));
  c.rope_scale = 1.0 / factor;
  return {};
}

Result<ModelConfig> FromHuggingFace(const json& object, const std::string& where) {
  if (!object.is_object()) return Err(ErrorCode::kCorrupt, "{}: expected a JSON object", where);
  const KeyReader keys(object, where);
  ModelConfig c;
  c.architecture = keys.Text("model_type");
  if (c.architecture != "mixtral" && c.architecture != "mistral" && c.architecture != "llama") {
    return Err(ErrorCode::kUnsupported,
               "{}: model_type is \"{}\"; expected mixtral, mistral or llama", where,
               c.architecture);
  }
  const std::string act = keys.Text("hidden_act");
  if (!act.empty() && act != "silu") {
    return Err(ErrorCode::kUnsupported, "{}: hidden_act is \"{}\"; expected silu", where, act);
  }
  if (keys.Flag("attention_bias") || keys.Flag("mlp_bias")) {
    return Err(ErrorCode::kUnsupported,
               "{}: attention_bias or mlp_bias is set; Mixtral, Mistral and Llama 2 have none",
               where);
  }
  OCTET_ASSIGN(c.n_layers, keys.Int("num_hidden_layers"));
  OCTET_ASSIGN(c.d_model, keys.Int("hidden_size"));
  OCTET_ASSIGN(c.n_heads, keys.Int("num_attention_heads"));
  OCTET_ASSIGN(c.n_kv_heads, keys.Int("num_key_value_heads", c.n_heads));
  OCTET_ASSIGN(c.head_dim, keys.Int("head_dim", c.n_heads > 0 ? c.d_model / c.n_heads : 0));
  OCTET_ASSIGN(c.d_ff, keys.Int("intermediate_size"));
  OCTET_ASSIGN(c.vocab_size, keys.Int("vocab_size"));
  OCTET_ASSIGN(c.context_len, keys.Int("max_position_embeddings", 4096));
  OCTET_ASSIGN(c.sliding_window, keys.Int("sliding_window", 0));
  OCTET_ASSIGN(c.norm_eps, keys.Number("rms_norm_eps", 1e-5));
  if (c.architecture == "mixtral") {
    OCTET_ASSIGN(c.n_experts, keys.Int("num_local_experts",
                                       keys.Has("num_experts") ? std::optional<int64_t>() : 8));
    OCTET_ASSIGN(c.n_experts_per_token, keys.Int("num_experts_per_tok", 2));
  }
  OCTET_TRY(ReadHfRope(keys, c));
  c.tied_embeddings = keys.Flag("tie_word_embeddings");
  c.rope_pairing = RopePairing::kHalves;
  return c;
}

/// Llama 2's params.json has no hidden_dim: it is in the shape of the first feed-forward.
Result<int64_t> HiddenDimFromTensors(const Checkpoint& checkpoint) {
  const TensorInfo* w1 = checkpoint.tensors->Find("layers.0.feed_forward.w1.weight");
  if (w1 == nullptr || w1->shape.size() != 2) {
    return Err(ErrorCode::kCorrupt,
               "{}: params.json has no hidden_dim and there is no layers.0.feed_forward.w1.weight "
               "to tell it",
               checkpoint.path.string());
  }
  return w1->shape[0];
}

Result<ModelConfig> FromMistral(const Checkpoint& checkpoint) {
  const std::string where = (checkpoint.path / "params.json").string();
  if (!checkpoint.config.is_object())
    return Err(ErrorCode::kCorrupt, "{}: expected a JSON object", where);
  const KeyReader keys(checkpoint.config, where);
  ModelConfig c;
  OCTET_ASSIGN(c.n_layers, keys.Int("n_layers"));
  OCTET_ASSIGN(c.d_model, keys.Int("dim"));
  OCTET_ASSIGN(c.n_heads, keys.Int("n_heads"));
  OCTET_ASSIGN(c.n_kv_heads, keys.Int("n_kv_heads", c.n_heads));
  OCTET_ASSIGN(c.head_dim, keys.Int("head_dim", c.n_heads > 0 ? c.d_model / c.n_heads : 0));
  OCTET_ASSIGN(c.sliding_window, keys.Int("sliding_window", 0));
  OCTET_ASSIGN(c.norm_eps, keys.Number("norm_eps", 1e-5));
  OCTET_ASSIGN(c.vocab_size, keys.Int("vocab_size", -1));
  const bool llama = !keys.Has("hidden_dim");
  if (llama) {
    OCTET_ASSIGN(c.d_ff, HiddenDimFromTensors(checkpoint));
  } else {
    OCTET_ASSIGN(c.d_ff, keys.Int("hidden_dim"));
  }
  // Without the key: Llama 2 and the sliding Mistral 7B v0.1 use 1e4, every later Mistral 1e6.
  OCTET_ASSIGN(c.rope_theta, keys.Number("rope_theta", llama || c.sliding_window > 0 ? 1e4 : 1e6));
  OCTET_ASSIGN(c.context_len, keys.Int("max_seq_len", llama ? 4096 : 32768));
  if (const json* moe = keys.Object("moe")) {
    const KeyReader moe_keys(*moe, where + ": moe");
    OCTET_ASSIGN(c.n_experts, moe_keys.Int("num_experts"));
    OCTET_ASSIGN(c.n_experts_per_token, moe_keys.Int("num_experts_per_tok"));
  }
  if (c.vocab_size == -1) {  // Llama 2: "as the tokenizer says"
    const TensorInfo* embedding = checkpoint.tensors->Find("tok_embeddings.weight");
    if (embedding != nullptr && embedding->shape.size() == 2) c.vocab_size = embedding->shape[0];
  }
  c.architecture = c.is_moe() ? "mixtral" : llama ? "llama" : "mistral";
  c.tied_embeddings = checkpoint.tensors->Find("tok_embeddings.weight") != nullptr &&
                      checkpoint.tensors->Find("output.weight") == nullptr &&
                      checkpoint.missing_tensors.empty();
  c.rope_pairing = RopePairing::kInterleaved;
  return c;
}

/// GGUF keys "<architecture>.<suffix>".
class GgufKeys {
 public:
  GgufKeys(const GgufMetadata& metadata, std::string architecture, std::string where)
      : metadata_(metadata), architecture_(std::move(architecture)), where_(std::move(where)) {}

  Result<int64_t> Int(const std::string& suffix, std::optional<int64_t> fallback = {}) const {
    const std::string key = architecture_ + "." + suffix;
    if (const auto value = metadata_.Uint(key)) {
      if (*value > uint64_t{1} << 40)
        return Err(ErrorCode::kCorrupt, "{}: {} is {}, which no model has", where_, key, *value);
      return static_cast<int64_t>(*value);
    }
    if (fallback) return *fallback;
    return Err(ErrorCode::kCorrupt, "{}: metadata key {} is missing or not an integer", where_,
               key);
  }
  double Number(const std::string& suffix, double fallback) const {
    return metadata_.Float(architecture_ + "." + suffix).value_or(fallback);
  }
  std::string Text(const std::string& suffix) const {
    const std::string* text = metadata_.String(architecture_ + "." + suffix);
    return text != nullptr ? *text : "";
  }

 private:
  const GgufMetadata& metadata_;
  std::string architecture_, where_;
};

Result<ModelConfig> FromGguf(const Checkpoint& checkpoint) {
  const std::string where = checkpoint.path.string();
  const std::string* architecture = checkpoint.gguf->String("general.architecture");
  if (architecture != nullptr && *architecture == kPackedArchitecture) {
    const auto version = checkpoint.gguf->Uint(kPackedVersionKey);
    if (version != kPackedVersion) {
      return Err(ErrorCode::kUnsupported,
                 "{}: a packed model of version {}, this program reads version {}; pack the "
                 "original again, or use that",
                 where, version ? std::to_string(*version) : "?", kPackedVersion);
    }
    architecture = checkpoint.gguf->String(kPackedArchitectureKey);
  }
  if (architecture == nullptr ||
      (*architecture != "llama" && *architecture != "mixtral" && *architecture != "mistral")) {
    return Err(ErrorCode::kUnsupported,
               "{}: general.architecture is {}; expected llama (which Mixtral and Mistral use too)",
               where, architecture == nullptr ? "missing" : "\"" + *architecture + "\"");
  }
  const GgufKeys keys(*checkpoint.gguf, *architecture, where);
  ModelConfig c;
  OCTET_ASSIGN(c.n_layers, keys.Int("block_count"));
  OCTET_ASSIGN(c.d_model, keys.Int("embedding_length"));
  OCTET_ASSIGN(c.n_heads, keys.Int("attention.head_count"));
  OCTET_ASSIGN(c.n_kv_heads, keys.Int("attention.head_count_kv", c.n_heads));
  OCTET_ASSIGN(c.head_dim,
               keys.Int("attention.key_length", c.n_heads > 0 ? c.d_model / c.n_heads : 0));
  OCTET_ASSIGN(const int64_t rope_dims, keys.Int("rope.dimension_count", c.head_dim));
  if (rope_dims != c.head_dim) {
    return Err(ErrorCode::kUnsupported,
               "{}: rope.dimension_count is {}, expected the head dimension {}", where, rope_dims,
               c.head_dim);
  }
  OCTET_ASSIGN(c.d_ff, keys.Int("feed_forward_length"));
  OCTET_ASSIGN(c.context_len, keys.Int("context_length", 4096));
  OCTET_ASSIGN(c.sliding_window, keys.Int("attention.sliding_window", 0));
  OCTET_ASSIGN(c.n_experts, keys.Int("expert_count", 0));
  OCTET_ASSIGN(c.n_experts_per_token, keys.Int("expert_used_count", 0));
  c.norm_eps = keys.Number("attention.layer_norm_rms_epsilon", 1e-5);
  c.rope_theta = keys.Number("rope.freq_base", 1e4);
  const std::string scaling = keys.Text("rope.scaling.type");
  if (!scaling.empty() && scaling != "none" && scaling != "linear") {
    return Err(ErrorCode::kUnsupported, "{}: rope.scaling.type is \"{}\"; expected none or linear",
               where, scaling);
  }
  if (scaling == "linear") c.rope_scale = 1.0 / keys.Number("rope.scaling.factor", 1.0);
  if (const TensorInfo* embedding = checkpoint.tensors->Find("token_embd.weight");
      embedding != nullptr && embedding->shape.size() == 2) {
    c.vocab_size = embedding->shape[0];
  } else {
    OCTET_ASSIGN(c.vocab_size, keys.Int("vocab_size"));
  }
  c.architecture = c.is_moe() ? "mixtral" : c.sliding_window > 0 ? "mistral" : "llama";
  c.tied_embeddings =
      checkpoint.tensors->Find("output.weight") == nullptr && checkpoint.missing_files.empty();
  c.rope_pairing = RopePairing::kInterleaved;
  return c;
}

/// Bounds far above any model of the family, and far below where products overflow.
Status CheckSizes(const ModelConfig& c, const std::string& where) {
  struct Bound {
    const char* name;
    int64_t value, low, high;
  };
  const Bound bounds[] = {{"layers", c.n_layers, 1, 4096},
                          {"model width", c.d_model, 1, 1 << 20},
                          {"attention heads", c.n_heads, 1, 1 << 16},
                          {"key/value heads", c.n_kv_heads, 1, 1 << 16},
                          {"head dimension", c.head_dim, 2, 1 << 14},
                          {"feed-forward width", c.d_ff, 1, 1 << 22},
                          {"experts", c.n_experts, 0, 1 << 14},
                          {"experts a token", c.n_experts_per_token, 0, 1 << 10},
                          {"vocabulary", c.vocab_size, 1, 1 << 24},
                          {"context", c.context_len, 1, 1 << 28},
                          {"sliding window", c.sliding_window, 0, 1 << 28}};
  for (const Bound& b : bounds) {
    if (b.value < b.low || b.value > b.high) {
      return Err(ErrorCode::kCorrupt, "{}: {} is {}, expected {} to {}", where, b.name, b.value,
                 b.low, b.high);
    }
  }
  if (c.n_heads % c.n_kv_heads != 0) {
    return Err(ErrorCode::kCorrupt, "{}: {} attention heads cannot share {} key/value heads evenly",
               where, c.n_heads, c.n_kv_heads);
  }
  if (c.head_dim % 2 != 0)
    return Err(ErrorCode::kCorrupt, "{}: head dimension is {}, RoPE needs an even one", where,
               c.head_dim);
  if (c.is_moe() && (c.n_experts_per_token < 1 || c.n_experts_per_token > c.n_experts)) {
    return Err(ErrorCode::kCorrupt, "{}: {} experts a token of {}; expected 1 to {}", where,
               c.n_experts_per_token, c.n_experts, c.n_experts);
  }
  if (!(c.norm_eps >= 0 && c.norm_eps < 1) || !(c.rope_theta > 1 && c.rope_theta < 1e12) ||
      !(c.rope_scale > 0 && c.rope_scale <= 1e6)) {
    return Err(ErrorCode::kCorrupt,
               "{}: norm epsilon {}, RoPE theta {} or RoPE scale {} is out of range", where,
               c.norm_eps, c.rope_theta, c.rope_scale);
  }
  // Metadata alone must not be able to ask for an absurd list of tensors.
  if (c.n_layers * c.feed_forwards() > 1 << 20) {
    return Err(ErrorCode::kCorrupt, "{}: {} layers of {} experts, which no model has", where,
               c.n_layers, c.feed_forwards());
  }
  // In double, which these factors cannot overflow as they can 64 bits.
  const double width = static_cast<double>(c.d_model);
  const double layer =
      width * (2.0 * static_cast<double>(c.q_dim() + c.kv_dim()) +
               3.0 * static_cast<double>(c.d_ff) * static_cast<double>(c.feed_forwards()));
  if (layer * static_cast<double>(c.n_layers) > 1e15) {
    return Err(ErrorCode::kCorrupt, "{}: more than 10^15 parameters, which no model has", where);
  }
  return {};
}

/// The tensor alone says so, in whatever layout.
bool HasRouterBias(const Checkpoint& checkpoint, const ModelConfig& config) {
  if (!config.is_moe()) return false;
  const TensorSpec bias{TensorRole::kRouterBias, 0, -1, {config.n_experts}};
  for (const Naming naming : {Naming::kHfSplit, Naming::kMistral, Naming::kGgufMerged}) {
    if (checkpoint.tensors->Find(PlaceOf(bias, config, naming).name) != nullptr) return true;
  }
  return false;
}

}  // namespace

Result<ModelConfig> ReadModelConfig(const Checkpoint& checkpoint) {
  const std::string where =
      checkpoint.kind == CheckpointKind::kHuggingFace ? (checkpoint.path / "config.json").string()
      : checkpoint.kind == CheckpointKind::kMistral   ? (checkpoint.path / "params.json").string()
                                                      : checkpoint.path.string();
  auto config = checkpoint.kind == CheckpointKind::kHuggingFace
                    ? FromHuggingFace(checkpoint.config, where)
                : checkpoint.kind == CheckpointKind::kMistral ? FromMistral(checkpoint)
                                                              : FromGguf(checkpoint);
  if (!config) return config;
  OCTET_TRY(CheckSizes(*config, where));
  config->router_bias = HasRouterBias(checkpoint, *config);
  if (IsEarlyMixtralWindow(*config)) {
    spdlog::warn(
        "{}: sliding window 4096 ignored: Mixtral 8x7B has none, the first configs said otherwise "
        "by mistake",
        where);
    config->sliding_window = 0;
  }
  return config;
}

ParameterCount CountParameters(const ModelConfig& config) {
  ParameterCount count;
  for (const TensorSpec& spec : TensorSpecs(config)) {
    int64_t n = 1;
    for (const int64_t d : spec.shape) n *= d;
    count.total += n;
    // Each token uses experts_per_token of the experts of its layer, whichever they are.
    if (spec.expert < config.n_experts_per_token) count.active += n;
  }
  return count;
}

double TrainingFlops(const ModelConfig& config, double keys) {
  double products = 0;  // of the forward pass, multiply-adds
  for (const TensorSpec& spec : TensorSpecs(config)) {
    const bool used = spec.expert < config.n_experts_per_token || !config.is_moe();
    if (spec.shape.size() != 2 || spec.role == TensorRole::kEmbedding || !used) continue;
    products += static_cast<double>(spec.shape[0] * spec.shape[1]);
  }
  if (config.tied_embeddings)
    products += static_cast<double>(config.vocab_size * config.d_model);  // the head
  products += 2 * keys * static_cast<double>(config.q_dim() * config.n_layers);
  return 6 * products;
}

}  // namespace octet
