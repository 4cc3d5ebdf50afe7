// Measuring speed: prompts, decoding at depth, batches, beside what the machine allows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "octet/convert.h"
#include "octet/error.h"

namespace octet {

struct BenchOptions {
  std::string model;  // folder or GGUF; empty with `synthetic` empty: the embedded model
  /// Random weights in the shape of "mixtral-8x7b", "mixtral-8x22b", "mistral-7b", "llama-2-70b",
  /// or "tiny-moe", a toy.
  std::string synthetic;
  // Of a synthetic model; 0: all it has. Some of them stand for more of their kind: prompts compute
  // the last one for all rows, as they do the others, though of a whole model its end suffices.
  int64_t layers = 0;
  std::string type = "q4_k_m";  // of a synthetic model: a recipe's name
  int threads = 0;
  std::string kv_type = "f16";
  std::string arithmetic = "fast";
  // Lists of what to measure; 0 (of depths, -1) is skipped, so that a flag can ask for none.
  std::vector<int64_t> prompts = {128, 512, 2048};
  std::vector<int64_t> prompt_depths = {};  // where a prompt of 512 tokens continues a text
  std::vector<int64_t> depths = {0, 4096, 16384, 32768};  // of one-token decoding
  std::vector<int64_t> batches = {1, 2, 4, 8, 16, 32};    // sequences decoding together
  int64_t batch_depth = 0;                                // past tokens of each of them
  /// They decode texts of so many tokens from there on, each its own, drawn by probability, as
  /// people's requests do; 0: the same step again and again.
  int64_t batch_tokens = 128;
  int repetitions = 5;
  double sample_s = 0.3;  // short steps are averaged over this long
  bool profile = false;   // after the rounds, once more with the time of every part taken
};

/// What a part of a step takes, on the thread that steps and takes part in all work.
struct BenchPart {
  std::string name;  // "attention", "gate and up"
  double seconds = 0;
  double share = 0;  // of the step
  /// Of the step too: this part's time that is not spent in kernels but in splitting work, waiting
  /// for the other threads and bookkeeping.
  double outside_share = 0;
};

enum class BenchKind { kPrompt, kDecode, kBatch };

struct BenchFigure {
  BenchKind kind = BenchKind::kPrompt;
  std::string name;  // "prompt 512", "prompt 512 at 8192", "decode at 4096", "batch 8"
  int64_t depth = 0, batch = 1;
  int64_t text_tokens = 0;                    // steps from `depth` on; 0: all at `depth`
  int64_t tokens = 0;                         // a step
  double median_s = 0, min_s = 0, max_s = 0;  // a step
  double tokens_per_s = 0;                    // at the median
  int64_t weight_bytes = 0;  // read in a step (on average): the matrices it touches, each once
  int64_t kv_bytes = 0;
  double experts_per_layer = 0;  // distinct ones a step touched, on average; 0: a dense model
  double read_bytes_per_s = 0;
  double read_share = 0;  // of the read limit measured beside it
  double flops = 0;       // a step
  double flops_per_s = 0;
  /// The arithmetic that prompts are compared with, a BenchLimit's name: AMX bf16, or without it
  /// the int8 dot product for quantised weights and the float32 FMA for others.
  std::string peak;
  // Of it as measured beside the steps, with all operands in registers, and with AMX bf16 tiles
  // loaded from the first-level cache (0: no such instruction set).
  double peak_share = 0, loaded_peak_share = 0;
  /// What the limits allow at most: the bytes at the read limit, or the arithmetic at the fastest
  /// rate for so many rows, whichever takes longer.
  double allowed_tokens_per_s = 0;
  double allowed_share = 0;
  /// Decoding at depth: the time lost against depth 0, over the time that reading these keys and
  /// values takes at the read limit; the median over the rounds. 0 without a figure at depth 0.
  double kv_cost = 0;
  /// With BenchOptions::profile: the parts that took time, in the order of a step, and the share of
  /// the step outside kernels, of all parts together.
  std::vector<BenchPart> parts;
  double outside_share = 0;
};

/// The most the machine reaches at one thing, all threads together, measured between the steps.
struct BenchLimit {
  std::string name;  // "memory read", "AMX bf16, registers"
  std::string unit;  // "B/s" or "op/s": a multiply-add is two operations
  double median = 0, min = 0, max = 0;
};

struct BenchReport {
  std::string model;   // empty: only the limits were measured
  std::string isa;     // "avx2 avx512 …"
  std::string layout;  // "packed" or "as in the file"
  std::string kv_type;
  int threads = 0;
  int repetitions = 0;
  int64_t layers = 0;
  int64_t parameters = 0, active_parameters = 0;
  int64_t weight_bytes = 0;
  double load_s = 0;                   // until the weights are ready; of a synthetic model, drawn
  int64_t load_peak_memory_bytes = 0;  // of the process, until then
  int64_t peak_memory_bytes = 0;       // at the end, with what the limits are measured on
  std::vector<BenchLimit> limits;      // those this machine has; memory read first
  std::vector<BenchFigure> figures;
  std::vector<std::string> notes;  // what was left out, and why
};

/// Runs every measurement, one repetition of each in turn, so that a noisy minute falls on all
/// alike; the limits of memory and arithmetic are measured in every round. Depths whose keys and
/// values do not fit this machine's memory are left out. `progress(what, done, total)` is called
/// before each step.
using BenchProgress = std::function<void(const std::string& what, int64_t done, int64_t total)>;
Result<BenchReport> RunBench(const BenchOptions& options, const BenchProgress& progress = {});

/// The limits alone: of options, threads and repetitions count.
Result<BenchReport> MeasureLimits(const BenchOptions& options);

/// Writes the synthetic model that RunBench would measure (synthetic, layers, type: the same
/// weights) as a GGUF, tensor by tensor, so that other programs can be measured on it. Its
/// vocabulary is write.tokenizer's, or else a made-up one. Of `write`, tokenizer, resume, force,
/// show_progress, threads and stop count. Errors: kInvalidArgument for unknown names, and those of
/// Convert.
Result<ConvertReport> SaveSyntheticModel(const BenchOptions& options,
                                         const std::filesystem::path& destination,
                                         const ConvertOptions& write);

/// The report as a JSON object, and as a picture (SVG): prompts, decoding at depth, batches.
std::string BenchJson(const BenchReport& report);
std::string BenchSvg(const BenchReport& report);

}  // namespace octet
