// Measuring speed: prompts, decoding at depth, batches, beside what the machine's memory allows.
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
  int64_t layers = 0;           // of a synthetic model; 0: all it has
  std::string type = "q4_k_m";  // of a synthetic model: a recipe's name
  int threads = 0;
  std::string kv_type = "f16";
  std::string arithmetic = "fast";
  std::vector<int64_t> prompts = {128, 512, 2048};
  std::vector<int64_t> depths = {0, 4096, 16384, 32768};  // of one-token decoding
  std::vector<int64_t> batches = {1, 2, 4, 8, 16, 32};    // sequences decoding together, at depth 0
  int repetitions = 5;
};

struct BenchFigure {
  std::string name;                           // "prompt 512", "decode at 4096", "batch 8"
  int64_t tokens = 0;                         // a step
  double median_s = 0, min_s = 0, max_s = 0;  // a step
  double tokens_per_s = 0;                    // at the median
  int64_t weight_bytes = 0;                   // read in a step: the matrices it touches, each once
  int64_t kv_bytes = 0;
  double read_bytes_per_s = 0;
  double read_share = 0;  // of the read limit measured beside it
  double flops = 0;       // a step
  double flops_per_s = 0;
  // Of the fastest arithmetic for many tokens measured beside it: all operands in registers, and
  // loaded from the first-level cache (0: no such instruction set).
  double peak_share = 0, loaded_peak_share = 0;
};

/// The most operations per second one kind of arithmetic reaches here, all threads together.
struct BenchPeak {
  std::string name;  // "AMX bf16, registers"
  double ops_per_s = 0;
};

struct BenchReport {
  std::string model;
  std::string isa;     // "avx2 avx512 …"
  std::string layout;  // "packed" or "as in the file"
  int threads = 0;
  int64_t layers = 0;
  int64_t parameters = 0, active_parameters = 0;
  int64_t weight_bytes = 0;
  int64_t peak_memory_bytes = 0;  // of the process, at the end
  double load_s = 0, pack_s = 0;
  double read_limit_bytes_per_s = 0;  // median over the run
  std::vector<BenchPeak> peaks;       // medians over the run, those this machine has
  std::vector<BenchFigure> figures;
};

/// Runs every measurement, one repetition of each in turn, so that a noisy minute falls on all
/// alike; the limits of memory and arithmetic are measured in every round. `progress(what, done,
/// total)` is called before each step.
using BenchProgress = std::function<void(const std::string& what, int64_t done, int64_t total)>;
Result<BenchReport> RunBench(const BenchOptions& options, const BenchProgress& progress = {});

/// Writes the synthetic model that RunBench would measure (synthetic, layers, type: the same
/// weights) as a GGUF, tensor by tensor, so that other programs can be measured on it. Its
/// vocabulary is write.tokenizer's, or else a made-up one. Of `write`, tokenizer, resume, force,
/// show_progress, threads and stop count. Errors: kInvalidArgument for unknown names, and those of
/// Convert.
Result<ConvertReport> SaveSyntheticModel(const BenchOptions& options,
                                         const std::filesystem::path& destination,
                                         const ConvertOptions& write);

/// The report as a JSON object, and as a picture of tokens/s (SVG).
std::string BenchJson(const BenchReport& report);
std::string BenchSvg(const BenchReport& report);

}  // namespace octet
