#include "ptq/model_metadata.h"

#include <cstdlib>
#include <utility>
#include <vector>

namespace octet {
namespace {

using nlohmann::ordered_json;

/// tokenizer.ggml.token_type.
int64_t GgufTokenType(TokenKind kind) {
  switch (kind) {
    case TokenKind::kNormal:
      return 1;
    case TokenKind::kUnknown:
      return 2;
    case TokenKind::kControl:
      return 3;
    case TokenKind::kUserDefined:
      return 4;
    case TokenKind::kUnused:
      return 5;
    case TokenKind::kByte:
      return 6;
  }
  return 1;
}

/// GGUF holds floats; 9.99999974e-06 is to come out as the 1e-05 that went in.
double ShortestDecimal(double value) {
  if (static_cast<double>(static_cast<float>(value)) != value) return value;
  return std::strtod(fmt::format("{}", static_cast<float>(value)).c_str(), nullptr);
}

std::string PieceOr(const Vocabulary& vocabulary, int32_t id, std::string_view fallback) {
  const bool there = id >= 0 && static_cast<size_t>(id) < vocabulary.tokens.size();
  return there ? vocabulary.tokens[id].piece : std::string(fallback);
}

}  // namespace

uint64_t GgufFileType(Format format) {
  switch (format) {  // llama.cpp's enumeration; the K formats' "mostly … medium" mixes
    case Format::kF32:
      return 0;
    case Format::kF16:
      return 1;
    case Format::kBf16:
      return 32;
    case Format::kQ4_0:
      return 2;
    case Format::kQ4_1:
      return 3;
    case Format::kQ5_0:
      return 8;
    case Format::kQ5_1:
      return 9;
    case Format::kQ8_0:
      return 7;
    case Format::kQ2_K:
      return 10;
    case Format::kQ3_K:
      return 12;
    case Format::kQ4_K:
      return 15;
    case Format::kQ5_K:
      return 17;
    case Format::kQ6_K:
      return 18;
    case Format::kIq4_Nl:
      return 25;
    case Format::kIq4_Xs:
      return 30;
  }
  return 0;
}

GgufMetadata GgufMetadataOf(const ModelConfig& c, std::string_view name, Format file_type) {
  GgufMetadata metadata;
  auto text = [&](const char* key, std::string_view value) {
    metadata.Set(key, std::string(value), GgufType::kString);
  };
  auto count = [&](const char* key, int64_t value) {
    metadata.Set(key, static_cast<uint64_t>(value), GgufType::kUint32);
  };
  auto real = [&](const char* key, double value) { metadata.Set(key, value, GgufType::kFloat32); };

  text("general.architecture", "llama");
  text("general.name", name);
  count("general.file_type", static_cast<int64_t>(GgufFileType(file_type)));
  count("general.quantization_version", 2);
  count("llama.block_count", c.n_layers);
  count("llama.context_length", c.context_len);
  count("llama.embedding_length", c.d_model);
  count("llama.feed_forward_length", c.d_ff);
  count("llama.vocab_size", c.vocab_size);
  count("llama.attention.head_count", c.n_heads);
  count("llama.attention.head_count_kv", c.n_kv_heads);
  real("llama.attention.layer_norm_rms_epsilon", c.norm_eps);
  count("llama.rope.dimension_count", c.head_dim);
  real("llama.rope.freq_base", c.rope_theta);
  if (c.head_dim * c.n_heads != c.d_model) {
    count("llama.attention.key_length", c.head_dim);
    count("llama.attention.value_length", c.head_dim);
  }
  if (c.sliding_window > 0) count("llama.attention.sliding_window", c.sliding_window);
  if (c.is_moe()) {
    count("llama.expert_count", c.n_experts);
    count("llama.expert_used_count", c.n_experts_per_token);
  }
  if (c.rope_scale != 1.0) {
    text("llama.rope.scaling.type", "linear");
    real("llama.rope.scaling.factor", 1.0 / c.rope_scale);
  }
  return metadata;
}

Status AddGgufVocabulary(const Vocabulary& vocabulary, int64_t vocab_size, GgufMetadata& metadata) {
  const auto n_tokens = static_cast<int64_t>(vocabulary.tokens.size());
  if (n_tokens > vocab_size) {
    return Err(ErrorCode::kCorrupt,
               "the tokenizer has {} tokens, the model's embedding {}: they do not belong together",
               n_tokens, vocab_size);
  }
  std::vector<std::string> pieces;
  std::vector<double> scores;
  std::vector<int64_t> types;
  for (const Vocabulary::Token& token : vocabulary.tokens) {
    pieces.push_back(token.piece);
    scores.push_back(token.score);
    types.push_back(GgufTokenType(token.kind));
  }
  for (int64_t id = n_tokens; id < vocab_size; ++id) {
    pieces.push_back(fmt::format("[PAD{}]", id));
    scores.push_back(-1000);
    types.push_back(GgufTokenType(TokenKind::kUnused));
  }
  metadata.Set("tokenizer.ggml.model", std::string("llama"), GgufType::kString);
  metadata.Set("tokenizer.ggml.pre", std::string("default"), GgufType::kString);
  metadata.Set("tokenizer.ggml.tokens", std::move(pieces), GgufType::kString);
  metadata.Set("tokenizer.ggml.scores", std::move(scores), GgufType::kFloat32);
  metadata.Set("tokenizer.ggml.token_type", std::move(types), GgufType::kInt32);
  auto special = [&](const char* key, int32_t id) {
    if (id >= 0) metadata.Set(key, static_cast<uint64_t>(id), GgufType::kUint32);
  };
  special("tokenizer.ggml.bos_token_id", vocabulary.bos);
  special("tokenizer.ggml.eos_token_id", vocabulary.eos);
  special("tokenizer.ggml.unknown_token_id", vocabulary.unk);
  special("tokenizer.ggml.padding_token_id", vocabulary.pad);
  if (vocabulary.extra_eos.size() == 1) {
    special("tokenizer.ggml.eot_token_id", vocabulary.extra_eos.front());
  }
  auto flag = [&](const char* key, bool value) { metadata.Set(key, value, GgufType::kBool); };
  flag("tokenizer.ggml.add_bos_token", vocabulary.add_bos);
  flag("tokenizer.ggml.add_eos_token", false);
  if (!vocabulary.add_dummy_prefix) flag("tokenizer.ggml.add_space_prefix", false);
  if (vocabulary.remove_extra_whitespaces) flag("tokenizer.ggml.remove_extra_whitespaces", true);
  if (!vocabulary.chat_template.empty()) {
    metadata.Set("tokenizer.chat_template", vocabulary.chat_template, GgufType::kString);
  }
  return {};
}

ordered_json HfConfigOf(const ModelConfig& c, const Vocabulary* vocabulary,
                        std::string_view dtype) {
  const bool is_mistral = c.architecture == "mistral";
  ordered_json json;
  json["architectures"] = {c.is_moe()   ? "MixtralForCausalLM"
                           : is_mistral ? "MistralForCausalLM"
                                        : "LlamaForCausalLM"};
  json["model_type"] = c.is_moe() ? "mixtral" : is_mistral ? "mistral" : "llama";
  json["vocab_size"] = c.vocab_size;
  json["hidden_size"] = c.d_model;
  json["intermediate_size"] = c.d_ff;
  json["num_hidden_layers"] = c.n_layers;
  json["num_attention_heads"] = c.n_heads;
  json["num_key_value_heads"] = c.n_kv_heads;
  if (c.head_dim * c.n_heads != c.d_model) json["head_dim"] = c.head_dim;
  json["hidden_act"] = "silu";
  json["max_position_embeddings"] = c.context_len;
  json["rms_norm_eps"] = ShortestDecimal(c.norm_eps);
  json["rope_theta"] = ShortestDecimal(c.rope_theta);
  if (c.rope_scale != 1.0) {
    json["rope_scaling"] = {{"type", "linear"}, {"factor", ShortestDecimal(1.0 / c.rope_scale)}};
  }
  if (c.is_moe() || is_mistral) {
    json["sliding_window"] = c.sliding_window > 0 ? ordered_json(c.sliding_window) : ordered_json();
  }
  if (c.is_moe()) {
    json["num_local_experts"] = c.n_experts;
    json["num_experts_per_tok"] = c.n_experts_per_token;
    json["output_router_logits"] = false;
    json["router_aux_loss_coef"] = 0.02;  // of the published models; a GGUF does not keep it
  }
  json["attention_dropout"] = 0.0;
  json["initializer_range"] = 0.02;
  json["tie_word_embeddings"] = c.tied_embeddings;
  if (vocabulary != nullptr) {
    if (vocabulary->bos >= 0) json["bos_token_id"] = vocabulary->bos;
    if (vocabulary->eos >= 0) json["eos_token_id"] = vocabulary->eos;
  }
  json["torch_dtype"] = dtype;
  json["use_cache"] = true;
  return json;
}

ordered_json HfTokenizerConfigOf(const Vocabulary& vocabulary) {
  ordered_json json;
  json["tokenizer_class"] = "LlamaTokenizer";
  json["add_bos_token"] = vocabulary.add_bos;
  json["add_eos_token"] = false;
  json["bos_token"] = PieceOr(vocabulary, vocabulary.bos, "<s>");
  json["eos_token"] = PieceOr(vocabulary, vocabulary.eos, "</s>");
  json["unk_token"] = PieceOr(vocabulary, vocabulary.unk, "<unk>");
  if (vocabulary.pad >= 0) json["pad_token"] = PieceOr(vocabulary, vocabulary.pad, "<pad>");
  json["clean_up_tokenization_spaces"] = false;
  json["legacy"] = true;  // SentencePiece's own treatment of spaces
  json["sp_model_kwargs"] = ordered_json::object();
  if (!vocabulary.chat_template.empty()) json["chat_template"] = vocabulary.chat_template;
  return json;
}

std::string_view HfDtypeName(Format format) {
  return format == Format::kF16 ? "float16" : format == Format::kBf16 ? "bfloat16" : "float32";
}

}  // namespace octet
