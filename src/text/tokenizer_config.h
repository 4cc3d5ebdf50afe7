// The small files beside a tokenizer in a Hugging Face folder: special tokens, chat template.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

namespace octet {

/// What tokenizer_config.json, special_tokens_map.json, added_tokens.json, generation_config.json,
/// config.json and chat_template.jinja say; the first of them that says something counts.
struct TokenizerConfig {
  std::optional<std::string> bos, eos, pad;  // pieces
  std::vector<int64_t> bos_ids, eos_ids;     // by number; several EOS are possible
  std::optional<bool> add_bos;
  std::string chat_template;
  std::vector<AddedToken> added;
  std::string where;  // the folder
};

/// Files that are not there say nothing. Errors: kCorrupt for one that is there and no JSON.
Result<TokenizerConfig> ReadTokenizerConfig(const std::filesystem::path& folder);

/// Applies it to a vocabulary read from that folder.
Status ApplyTokenizerConfig(const TokenizerConfig& config, Vocabulary& vocabulary);

}  // namespace octet
