#include "text/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/file.h"
#include "io/json.h"
#include "text/json_values.h"
#include "text/vocabulary.h"

namespace octet {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxTemplateBytes = 1u << 20;

/// An empty object when the file is not there.
Result<Json> ReadIfThere(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return Json::object();
  return ReadJsonFile(path);
}

/// "</s>", or {"content": "</s>", …}.
std::optional<std::string> PieceIn(const Json& object, const char* key) {
  const Json* value = Get(object, key);
  if (value == nullptr) return std::nullopt;
  if (value->is_object()) value = Get(*value, "content");
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return value->get<std::string>();
}

/// 2, or [2, 32000].
std::vector<int64_t> IdsIn(const Json& object, const char* key) {
  std::vector<int64_t> ids;
  const Json* value = Get(object, key);
  if (value == nullptr) return ids;
  if (value->is_number_integer()) ids.push_back(value->get<int64_t>());
  if (!value->is_array()) return ids;
  for (const Json& entry : *value) {
    if (entry.is_number_integer()) ids.push_back(entry.get<int64_t>());
  }
  return ids;
}

/// The text itself, or of a list of named templates the one called "default".
std::string TemplateIn(const Json& object) {
  const Json* value = Get(object, "chat_template");
  if (value == nullptr) return {};
  if (value->is_string()) return value->get<std::string>();
  if (!value->is_array()) return {};
  for (const Json& entry : *value) {
    if (StringOr(entry, "name", "") == "default") return StringOr(entry, "template", "");
  }
  return {};
}

/// tokenizer_config.json's {"32000": {"content": …, "special": true}}.
void AddDecoderTokens(const Json& object, std::vector<AddedToken>& added) {
  const Json* decoder = Get(object, "added_tokens_decoder");
  if (decoder == nullptr || !decoder->is_object()) return;
  for (const auto& [key, entry] : decoder->items()) {
    AddedToken token{-1, StringOr(entry, "content", ""), BoolOr(entry, "special", false)};
    const auto parsed = std::from_chars(key.data(), key.data() + key.size(), token.id);
    const bool is_number = parsed.ec == std::errc() && parsed.ptr == key.data() + key.size();
    if (is_number && !token.content.empty()) added.push_back(std::move(token));
  }
}

/// added_tokens.json's {"<|im_end|>": 32000}: special when it looks like a marker.
void AddListedTokens(const Json& object, std::vector<AddedToken>& added) {
  for (const auto& [content, id] : object.items()) {
    if (!id.is_number_integer() || content.empty()) continue;
    const bool marker = content.front() == '<' && content.back() == '>';
    added.push_back({id.get<int64_t>(), content, marker});
  }
}

void TakeSpecials(const Json& object, TokenizerConfig& config) {
  if (!config.bos) config.bos = PieceIn(object, "bos_token");
  if (!config.eos) config.eos = PieceIn(object, "eos_token");
  if (!config.pad) config.pad = PieceIn(object, "pad_token");
  if (config.bos_ids.empty()) config.bos_ids = IdsIn(object, "bos_token_id");
  if (config.eos_ids.empty()) config.eos_ids = IdsIn(object, "eos_token_id");
  if (config.chat_template.empty()) config.chat_template = TemplateIn(object);
}

/// A token by piece if named and known, else by id, else as it is.
int32_t Resolve(const Vocabulary& vocabulary, const std::optional<std::string>& piece,
                const std::vector<int64_t>& ids, int32_t fallback) {
  if (piece) {
    const int32_t id = FindPiece(vocabulary, *piece);
    if (id >= 0) return id;
  }
  if (ids.empty() || ids[0] < 0) return fallback;
  return ids[0] < static_cast<int64_t>(vocabulary.tokens.size()) ? static_cast<int32_t>(ids[0])
                                                                 : fallback;
}

}  // namespace

Result<TokenizerConfig> ReadTokenizerConfig(const fs::path& folder) {
  TokenizerConfig config;
  config.where = folder.string();
  OCTET_ASSIGN(const Json tokenizer, ReadIfThere(folder / "tokenizer_config.json"));
  TakeSpecials(tokenizer, config);
  if (const Json* add = Get(tokenizer, "add_bos_token"); add != nullptr && add->is_boolean()) {
    config.add_bos = add->get<bool>();
  }
  AddDecoderTokens(tokenizer, config.added);
  for (const char* name : {"special_tokens_map.json", "generation_config.json", "config.json"}) {
    OCTET_ASSIGN(const Json object, ReadIfThere(folder / name));
    TakeSpecials(object, config);
  }
  if (config.added.empty()) {
    OCTET_ASSIGN(const Json object, ReadIfThere(folder / "added_tokens.json"));
    AddListedTokens(object, config.added);
  }
  std::sort(config.added.begin(), config.added.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  const fs::path jinja = folder / "chat_template.jinja";
  std::error_code ignored;
  if (fs::exists(jinja, ignored)) {
    OCTET_ASSIGN(config.chat_template, ReadTextFile(jinja, kMaxTemplateBytes));
  }
  return config;
}

Status ApplyTokenizerConfig(const TokenizerConfig& config, Vocabulary& vocabulary) {
  OCTET_TRY(ApplyAddedTokens(config.added, vocabulary.tokens.size(), config.where, vocabulary));
  vocabulary.bos = Resolve(vocabulary, config.bos, config.bos_ids, vocabulary.bos);
  vocabulary.eos = Resolve(vocabulary, config.eos, config.eos_ids, vocabulary.eos);
  vocabulary.pad = Resolve(vocabulary, config.pad, {}, vocabulary.pad);
  for (const int64_t id : config.eos_ids) {
    const bool in_range = id >= 0 && id < static_cast<int64_t>(vocabulary.tokens.size());
    if (in_range && id != vocabulary.eos) vocabulary.extra_eos.push_back(static_cast<int32_t>(id));
  }
  if (config.add_bos) vocabulary.add_bos = *config.add_bos;
  if (vocabulary.bos < 0) vocabulary.add_bos = false;
  if (!config.chat_template.empty()) vocabulary.chat_template = config.chat_template;
  return {};
}

}  // namespace octet
