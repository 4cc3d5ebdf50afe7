// How the next token is chosen. Part of the public facade. Formulas and ranges:
// docs/guides/sampling.md.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "octet/error.h"

namespace octet {

/// The stages run in this order, each on what the one before left:
///   logit bias and bans → repetition, frequency and presence penalties → DRY →
///   top-k → typical → top-p → min-p → temperature → draw.
/// With mirostat on: … DRY → temperature → mirostat → draw. This is llama.cpp's order; Hugging Face
/// and Mistral's reference code divide by the temperature before truncating (`temperature_first`).
struct SamplingOptions {
  float temperature = 0.8f;        // [0, 100]; 0: the most likely token, the lowest id of equals
  int32_t top_k = 40;              // ≥ 0; 0: off
  float top_p = 0.95f;             // [0, 1]; 1: off
  float min_p = 0.05f;             // [0, 1]; 0: off
  float typical_p = 1.0f;          // [0, 1]; 1: off
  bool temperature_first = false;  // temperature before the truncations instead of after

  float mirostat_tau = 0.0f;  // target surprise in bits, [0, 100]; 0: off
  float mirostat_eta = 0.1f;  // learning rate, [0, 1]

  float repeat_penalty = 1.0f;     // [0.01, 100]; 1: off
  float presence_penalty = 0.0f;   // [-100, 100]; 0: off
  float frequency_penalty = 0.0f;  // [-100, 100]; 0: off
  int32_t penalty_last_n = 64;     // tokens looked back, prompt included; -1: all, 0: none

  float dry_multiplier = 0.0f;  // [0, 100]; 0: off
  float dry_base = 1.75f;       // [1, 100]
  int32_t dry_allowed_length = 2;
  int32_t dry_last_n = -1;  // as penalty_last_n
  std::vector<std::string> dry_sequence_breakers = {"\n", ":", "\"", "*"};

  std::vector<std::pair<int32_t, float>> logit_bias;  // added to the id's logit; -inf bans it
  std::vector<int32_t> banned_ids;
  bool ignore_eos = false;  // end-of-sequence tokens cannot be chosen

  uint64_t seed = 0;    // same seed, stream and prompt: same text
  uint64_t stream = 0;  // tells apart several continuations of one seed

  /// Everything off, temperature 1: the model's own distribution.
  static SamplingOptions Plain();
  /// The most likely token, always.
  static SamplingOptions Greedy();
};

/// kInvalidArgument names the option, its value and its range. Ids are checked against
/// [0, vocab_size).
Status Validate(const SamplingOptions& options, int32_t vocab_size);

/// A token and the natural logarithm of its probability under the model's own logits: before any
/// penalty, truncation or temperature.
struct TokenLogProb {
  int32_t id = 0;
  float logprob = 0;
};

}  // namespace octet
