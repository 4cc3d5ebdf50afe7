// A model's configuration and vocabulary in the words of each file format.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "io/gguf.h"
#include "model/config.h"
#include "text/tokenizer.h"

namespace octet {

/// llama.cpp's keys, "llama.*", which its Mixtral and Mistral use too. `file_type` is the format of
/// most matrices.
GgufMetadata GgufMetadataOf(const ModelConfig& config, std::string_view name, Format file_type);

/// Adds tokenizer.ggml.*, padded with unused tokens to `vocab_size`. kCorrupt when the vocabulary
/// has more tokens than that.
Status AddGgufVocabulary(const Vocabulary& vocabulary, int64_t vocab_size, GgufMetadata& metadata);

/// general.file_type of a file whose matrices are mostly of that format.
uint64_t GgufFileType(Format format);

/// config.json. `dtype` is "bfloat16", "float16" or "float32"; `vocabulary` may be null.
nlohmann::ordered_json HfConfigOf(const ModelConfig& config, const Vocabulary* vocabulary,
                                  std::string_view dtype);
/// tokenizer_config.json of a LlamaTokenizer over a tokenizer.model.
nlohmann::ordered_json HfTokenizerConfigOf(const Vocabulary& vocabulary);
/// torch's name of a float format.
std::string_view HfDtypeName(Format format);

}  // namespace octet
