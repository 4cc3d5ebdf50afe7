// Measuring a model: raw logits with a trace of what happened inside, perplexity of a text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "octet/error.h"

namespace octet {

/// How a model is loaded and computed for a measurement.
struct ComputeOptions {
  std::filesystem::path model;  // folder or .gguf; empty: the embedded default
  int threads = 0;              // 0: the cores this process may use
  /// "float32": weights decoded, everything in float; "fast". Empty: float32, but fast for a packed
  /// file, which has no other.
  std::string arithmetic;
  std::string kv_type;  // "f32", "f16", "bf16", "q8_0"; empty: f32 with float32, else f16
};

struct LogitsRequest {
  std::vector<int32_t> tokens;
  std::filesystem::path out;    // .npy, float32 [T, vocab]
  std::filesystem::path trace;  // folder for activations, created; empty: none
};

struct LogitsReport {
  int64_t tokens = 0, vocab = 0;
  double seconds = 0;
  std::vector<std::string> files;  // written, in order
};

/// Runs the tokens as one sequence from position 0. Files appear whole or not at all.
/// The trace folder gets embed.npy and final_norm.npy [T, d_model] and for each layer N
/// layer_NN.{attn_out,h_mid,ffn_out,layer_out}.npy [T, d_model], and for a mixture of experts
/// layer_NN.router_logits.npy [T, E], layer_NN.experts.npy int32 [T, k] best first,
/// layer_NN.expert_weights.npy [T, k].
Result<LogitsReport> WriteLogits(const ComputeOptions& compute, const LogitsRequest& request);

struct PerplexityReport {
  double perplexity = 0, standard_error = 0, mean_nll = 0;
  int64_t scored_tokens = 0, windows = 0, context = 0, text_tokens = 0;
  double seconds = 0;
};

/// Perplexity of a UTF-8 text file in windows of `context` tokens, each scored on its last half.
/// `progress(done, total, perplexity so far)` is called after each window; false stops with
/// kCancelled.
using PerplexityProgress = std::function<bool(int64_t done, int64_t total, double perplexity)>;
Result<PerplexityReport> MeasureFilePerplexity(const ComputeOptions& compute,
                                               const std::filesystem::path& text, int64_t context,
                                               const PerplexityProgress& progress);

}  // namespace octet
