// Collects an importance matrix: how large the inputs of every weight's column are on a text, per
// expert. `quantize` spends its bits by it. Part of the public facade; docs/guides/imatrix.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "octet/error.h"

namespace octet {

struct ImatrixOptions {
  std::filesystem::path model;               // folder or GGUF; empty: the model inside the program
  std::vector<std::filesystem::path> texts;  // UTF-8, read one after another
  std::filesystem::path out;                 // a GGUF; empty: only the report
  int64_t context = 0;                       // tokens computed together; 0: 512 or the model's
  /// Ends as soon as every expert of every layer has seen so many tokens; 0: at the texts' end.
  int64_t min_tokens_per_expert = 0;
  int64_t max_tokens = 0;                   // of text; 0: all
  std::string arithmetic = "fast";          // or "float32"
  int threads = 0;                          // 0: one a physical core
  bool resume = false;                      // go on from what `out` has of the same texts
  bool force = false;                       // replace `out`
  const std::atomic<bool>* stop = nullptr;  // ends as at the texts' end, `out` can be resumed
};

struct ImatrixReport {
  int64_t tokens = 0;                  // computed, in all runs
  int64_t text_tokens = 0;             // there are
  int32_t layers = 0, experts = 0;     // experts 0: a dense model
  std::vector<int64_t> expert_tokens;  // [layers, experts] seen by each
  std::vector<std::string> notes;      // what a user should know about the result
  bool stopped = false;                // by options.stop
  double seconds = 0;
};

/// After every window of text, and once with 0 before the first; `least` is what the expert with
/// the fewest tokens has.
using ImatrixProgress = std::function<void(int64_t tokens, int64_t total, int64_t least)>;

/// `out` is replaced atomically, every minute and at the end. Errors: kInvalidArgument for texts
/// shorter than a window, an `out` that exists without resume or force, or one of other texts.
Result<ImatrixReport> CollectImatrix(const ImatrixOptions& options,
                                     const ImatrixProgress& progress = {});

}  // namespace octet
