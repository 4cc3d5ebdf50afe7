// A loaded model and what it needs to compute: shared by the facade's parts.
#pragma once

#include <filesystem>
#include <memory>

#include "base/result.h"
#include "model/weights.h"
#include "ops/context.h"
#include "text/tokenizer.h"

namespace octet {

struct Runtime {
  /// `path` empty: the embedded default model. threads ≤ 0: the cores this process may use.
  static Result<std::unique_ptr<Runtime>> Load(const std::filesystem::path& path, int threads);

  Context MakeContext(Arithmetic arithmetic) { return {*pool, kernels, scratch, arithmetic}; }
  /// The tokenizer that came with the model.
  Result<std::unique_ptr<Tokenizer>> LoadTokenizer() const;

  std::unique_ptr<Model> model;
  std::unique_ptr<ThreadPool> pool;
  KernelTable kernels;
  Arena scratch;
};

}  // namespace octet
