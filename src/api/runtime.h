// A loaded model and what it needs to compute: shared by the facade's parts.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/weights.h"
#include "ops/context.h"
#include "text/tokenizer.h"

namespace octet {

/// "fast" or "float32"; kInvalidArgument otherwise.
Result<Arithmetic> ArithmeticFromName(std::string_view name);

struct RuntimeOptions {
  /// "fast", "float32", or empty: float32, unless the file is packed for fast arithmetic.
  std::string arithmetic;
  int threads = 0;  // ≤ 0: one a physical core this process may use
  bool retile = true;
};

struct Runtime {
  /// `path` empty: the embedded default model.
  static Result<std::unique_ptr<Runtime>> Load(const std::filesystem::path& path,
                                               const RuntimeOptions& options);
  static Result<Checkpoint> Open(const std::filesystem::path& path);
  Status Start(Checkpoint checkpoint, const RuntimeOptions& options);

  Context MakeContext() { return {*pool, kernels, scratch, arithmetic}; }
  /// The tokenizer that came with the model.
  Result<std::unique_ptr<Tokenizer>> LoadTokenizer() const;

  std::unique_ptr<Model> model;
  std::unique_ptr<ThreadPool> pool;
  KernelTable kernels;
  Arithmetic arithmetic = Arithmetic::kFloat32;
  Arena scratch;
};

}  // namespace octet
