// Perplexity of a text: how well a model predicts each next token.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "model/forward.h"

namespace octet {

struct PerplexityOptions {
  int64_t context = 512;  // tokens a window
  int32_t bos = 1;        // put at the start of every window in place of its first token; -1: none
  Format kv_format = Format::kF16;
};

struct PerplexityResult {
  double perplexity = 0;
  double standard_error = 0;  // of the perplexity, from the spread of the tokens' log-probabilities
  double mean_nll = 0;        // natural log, per scored token
  int64_t scored_tokens = 0;
  int64_t windows = 0;
};

/// The text is cut into windows of `context` tokens; each is scored on its last half only, so that
/// every scored token has at least context/2 tokens before it (the protocol of llama.cpp's tool:
/// figures of the same context length are comparable with it, not with others). A text shorter than
/// one window is one shorter window. `on_window(done, total, so_far)` is called after each; false
/// stops with kCancelled. kInvalidArgument: fewer than 4 tokens, a context the model does not have,
/// an id out of range.
using PerplexityCallback =
    std::function<bool(int64_t done, int64_t total, const PerplexityResult& so_far)>;
Result<PerplexityResult> MeasurePerplexity(const Model& model, std::span<const int32_t> ids,
                                           const PerplexityOptions& options, Context& context,
                                           const PerplexityCallback& on_window = {});

/// log softmax(logits)[target], in double.
double LogProbability(std::span<const float> logits, int32_t target);

}  // namespace octet
