// A loaded model and what it needs to compute: shared by the facade's parts.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "model/weights.h"
#include "ops/context.h"
#include "text/tokenizer.h"

namespace octet {

/// "fast" or "float32"; kInvalidArgument otherwise.
Result<Arithmetic> ArithmeticFromName(std::string_view name);

struct Runtime {
  /// `path` empty: the embedded default model. threads ≤ 0: one a physical core this process may
  /// use.
  static Result<std::unique_ptr<Runtime>> Load(const std::filesystem::path& path, int threads);
  static Result<Checkpoint> Open(const std::filesystem::path& path);
  Status Start(Checkpoint checkpoint, int threads);

  Context MakeContext(Arithmetic arithmetic) { return {*pool, kernels, scratch, arithmetic}; }
  /// The tokenizer that came with the model.
  Result<std::unique_ptr<Tokenizer>> LoadTokenizer() const;

  std::unique_ptr<Model> model;
  std::unique_ptr<ThreadPool> pool;
  KernelTable kernels;
  Arena scratch;
};

}  // namespace octet
