// A Mixtral of a few thousand random weights and a tokenizer of letters, both in memory: enough to
// test what runs around a model.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "model/synthetic.h"
#include "model/weights.h"
#include "text/tokenizer.h"

namespace octet::testing {

inline constexpr int32_t kTinyVocab = 30;  // unk, bos, eos, a space, a … z

inline std::unique_ptr<Model> TinyModel(uint64_t seed = 1) {
  ModelConfig config;
  config.architecture = "mixtral";
  config.n_layers = 2;
  config.d_model = 32;
  config.n_heads = 4;
  config.n_kv_heads = 2;
  config.head_dim = 8;
  config.d_ff = 48;
  config.n_experts = 4;
  config.n_experts_per_token = 2;
  config.vocab_size = kTinyVocab;
  config.context_len = 256;
  auto checkpoint = MakeSyntheticCheckpoint(config, {Format::kF32, seed});
  if (!checkpoint) throw std::runtime_error(checkpoint.error().message);
  auto model = Model::Load(*std::move(checkpoint));
  if (!model) throw std::runtime_error(model.error().message);
  return *std::move(model);
}

/// Ids 3 … 29 are a space and the letters; others are control tokens.
class LetterTokenizer : public Tokenizer {
 public:
  LetterTokenizer() {
    vocabulary_.tokens.resize(kTinyVocab);
    vocabulary_.tokens[1].kind = vocabulary_.tokens[2].kind = TokenKind::kControl;
    for (int32_t id = 3; id < kTinyVocab; ++id) {
      vocabulary_.tokens[static_cast<size_t>(id)].piece = Letter(id);
    }
    vocabulary_.add_dummy_prefix = false;
  }
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::vector<int32_t> Encode(std::string_view text) const override {
    std::vector<int32_t> ids;
    for (const char c : text) ids.push_back(c == ' ' ? 3 : c >= 'a' && c <= 'z' ? c - 'a' + 4 : 0);
    return ids;
  }
  std::string Decode(std::span<const int32_t> ids) const override {
    std::string text;
    for (const int32_t id : ids) text += TokenBytes(id);
    return text;
  }
  std::string_view TokenBytes(int32_t id) const override {
    if (id < 3 || id >= kTinyVocab) return {};
    return vocabulary_.tokens[static_cast<size_t>(id)].piece;
  }

 private:
  static std::string Letter(int32_t id) {
    return std::string(1, id == 3 ? ' ' : static_cast<char>('a' + id - 4));
  }
  Vocabulary vocabulary_;
};

}  // namespace octet::testing
