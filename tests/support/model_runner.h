// A model with everything a forward pass needs, for tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"
#include "model/forward.h"
#include "model/synthetic.h"
#include "support/must.h"

namespace octet::testing {

struct RunnerOptions {
  int threads = 2;
  Format kv_format = Format::kF32;
  int32_t page_tokens = 16;
  int64_t kv_tokens = 4096;
  Arithmetic arithmetic = Arithmetic::kFloat32;
};

/// Owns a pool, scratch and a KV cache around a model that outlives it.
class ModelRunner {
 public:
  ModelRunner(const Model& model, const RunnerOptions& options)
      : model_(model),
        pool_(options.threads),
        kernels_(SelectKernels(Must(SelectIsaFromEnvironment()))),
        kv_(Must(KvCache::Create(model.config(), {options.kv_format, options.page_tokens,
                                                  (options.kv_tokens + options.page_tokens - 1) /
                                                      options.page_tokens}))),
        context_{pool_, kernels_, arena_, options.arithmetic} {}

  struct Part {
    int32_t sequence;
    int64_t position;  // of the first token
    std::vector<int32_t> tokens;
  };

  /// One step over several sequences; logits of every row, [T, vocab] flattened.
  std::vector<float> Step(const std::vector<Part>& parts, Observer* observer = nullptr) {
    size_t n = 0;
    for (const Part& part : parts) n += part.tokens.size();
    std::vector<int32_t> rows(n);
    std::iota(rows.begin(), rows.end(), 0);
    return StepFor(rows, parts, observer);
  }

  /// Logits of some rows of the step, ascending.
  std::vector<float> StepFor(const std::vector<int32_t>& rows, const std::vector<Part>& parts,
                             Observer* observer = nullptr) {
    std::vector<int32_t> token, position, sequence;
    for (const Part& part : parts) {
      const auto n = static_cast<int64_t>(part.tokens.size());
      const Status reserved = kv_.Reserve(part.sequence, part.position + n);
      EXPECT_TRUE(reserved.has_value()) << (reserved ? "" : reserved.error().message);
      for (int64_t i = 0; i < n; ++i) {
        token.push_back(part.tokens[static_cast<size_t>(i)]);
        position.push_back(static_cast<int32_t>(part.position + i));
        sequence.push_back(part.sequence);
      }
    }
    Arena::Scope scope(arena_);
    const auto logits =
        Forward(model_, {token, position, sequence, rows}, kv_, {observer}, context_);
    return {logits.data, logits.data + logits.size()};
  }

  /// Logits of a whole prompt in a fresh sequence, fed in chunks (0: all at once).
  std::vector<float> Prompt(const std::vector<int32_t>& ids, size_t chunk = 0,
                            Observer* observer = nullptr) {
    const int32_t sequence = kv_.AddSequence();
    std::vector<float> all;
    for (size_t at = 0; at < ids.size();) {
      const size_t n = std::min(chunk == 0 ? ids.size() : chunk, ids.size() - at);
      const std::vector<int32_t> part(ids.begin() + static_cast<int64_t>(at),
                                      ids.begin() + static_cast<int64_t>(at + n));
      const auto logits = Step({{sequence, static_cast<int64_t>(at), part}}, observer);
      all.insert(all.end(), logits.begin(), logits.end());
      at += n;
    }
    kv_.RemoveSequence(sequence);
    return all;
  }

  /// Greedy continuation, one token a step.
  std::vector<int32_t> Greedy(const std::vector<int32_t>& prompt, size_t n) {
    const int32_t sequence = kv_.AddSequence();
    std::vector<int32_t> ids;
    std::vector<int32_t> next = prompt;
    int64_t position = 0;
    while (ids.size() < n) {
      const auto logits = Step({{sequence, position, next}});
      position += static_cast<int64_t>(next.size());
      const auto last = logits.end() - model_.config().vocab_size;
      ids.push_back(static_cast<int32_t>(std::max_element(last, logits.end()) - last));
      next = {ids.back()};
    }
    kv_.RemoveSequence(sequence);
    return ids;
  }

  KvCache& kv() { return kv_; }
  Context& context() { return context_; }

 private:
  const Model& model_;
  ThreadPool pool_;
  KernelTable kernels_;
  Arena arena_;
  KvCache kv_;
  Context context_;
};

/// A small Mixtral shape; change what a test is about.
inline ModelConfig TinyMixtralConfig() {
  ModelConfig c;
  c.architecture = "mixtral";
  c.n_layers = 3;
  c.d_model = 64;
  c.n_heads = 8;
  c.n_kv_heads = 2;
  c.head_dim = 8;
  c.d_ff = 96;
  c.n_experts = 8;
  c.n_experts_per_token = 2;
  c.vocab_size = 101;
  c.context_len = 4096;
  c.rope_theta = 1e6;
  return c;
}

inline std::unique_ptr<Model> SyntheticModel(const ModelConfig& config,
                                             Format format = Format::kF32) {
  return Must(Model::Load(Must(MakeSyntheticCheckpoint(config, {.matrices = format, .seed = 7}))));
}

/// `n` ids below `vocab`, the same for the same seed.
inline std::vector<int32_t> RandomIds(size_t n, int64_t vocab, uint64_t seed) {
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; ++i)
    ids[i] = static_cast<int32_t>(RandomBits(seed, 0, i) % static_cast<uint64_t>(vocab));
  return ids;
}

}  // namespace octet::testing
