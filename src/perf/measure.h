// How long forward steps take, and what each had to read and compute.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "model/forward.h"

namespace octet {

/// One kind of step: `batch` sequences at `depth` past tokens, each taking `rows` new ones.
struct StepShape {
  int64_t batch = 1;
  int64_t rows = 1;   // 1: decode; more: a prompt
  int64_t depth = 0;  // tokens already in the cache (made up, not computed)
  /// 0: every step is the same one. Else steps follow each other: each sequence goes on with a
  /// token drawn from its own logits, and after so many steps all start anew at `depth`. Repeating
  /// one step flatters: it writes the same few lines of the cache, at a depth that never grows.
  int64_t text_tokens = 0;

  int64_t tokens() const { return batch * rows; }
  /// Tokens that a sequence needs room for.
  int64_t room() const { return depth + std::max(rows, text_tokens); }
  /// Past tokens of a step, on average.
  double mean_depth() const {
    return static_cast<double>(depth) +
           (text_tokens > 0 ? static_cast<double>(text_tokens - 1) / 2 : 0.0);
  }
};

/// Of one step; of steps that follow each other, their average.
struct StepCost {
  double weight_bytes = 0;     // of the matrices it touches, each once, by the actual routing
  double kv_bytes = 0;         // of keys and values it reads
  double flops = 0;            // 2 per multiply-add of matrices and attention
  double int8_flops = 0;       // of these, products that may be computed in 8 bits
  double experts_touched = 0;  // over all layers; 0 for a dense model
  /// Rows that the matrices of a feed-forward are multiplied with, on average of those touched.
  double rows_per_matrix = 0;
};

/// Runs steps of several shapes on a model, with random tokens and made-up keys and values that all
/// shapes share. Time Step() as often as wanted, interleaved with others.
class StepBench {
 public:
  static Result<StepBench> Create(const Model& model, std::vector<StepShape> shapes,
                                  Format kv_format);
  /// Bytes of keys and values that Create takes.
  static int64_t KvBytes(const ModelConfig& config, const std::vector<StepShape>& shapes,
                         Format kv_format);

  /// One step of shape `i`; seconds, without what choosing the next tokens takes.
  double Step(size_t i, Context& context);
  /// Counted in an extra step, or in a few that follow each other.
  StepCost Cost(size_t i, Context& context);

  /// The model's layers stand for more of their kind: the last one is computed as the others are,
  /// though a prompt needs no more of it than its end.
  void TakeLastLayerWhole() { every_row_ = true; }

  const std::vector<StepShape>& shapes() const { return shapes_; }
  /// What the next step of shape `i` computes.
  Batch NextBatch(size_t i) const { return rows_[i].batch(); }

 private:
  struct Rows {
    std::vector<int32_t> token, position, sequence, logit_rows;
    int64_t steps_done = 0;  // of a text
    uint64_t texts = 0;      // begun so far
    Batch batch() const { return {token, position, sequence, logit_rows}; }
  };
  StepBench(const Model& model, std::vector<StepShape> shapes, KvCache kv)
      : model_(&model), shapes_(std::move(shapes)), kv_(std::move(kv)) {}
  Status FillCache();
  void AddRows(const StepShape& shape);
  /// Each sequence's next token and position, by the logits of its last.
  void Advance(size_t i, View<const float, 2> logits, Context& context);
  void BeginTexts(size_t i);
  /// Rows of a step of shape `i` that end the last layer.
  int64_t LastRows(size_t i) const;
  void CountMatrices(size_t i, class TouchedExperts& touched, StepCost& cost) const;
  StepCost CostOfStep(size_t i, Context& context);

  const Model* model_;
  std::vector<StepShape> shapes_;
  std::vector<Rows> rows_;  // [shapes]
  KvCache kv_;              // sequence b serves the b-th of every shape
  bool every_row_ = false;
};

/// What this machine can do at most, in bytes and operations per second (0: it has no such thing).
struct MachineRates {
  double read = 0;
  double fma_f32 = 0, dot_int8 = 0, amx_int8 = 0, amx_bf16 = 0;
};
/// Seconds that a step of this cost takes at least: its bytes at the read limit, or its arithmetic
/// at the fastest rate for so many rows (a tile of 16 rows takes the same time for fewer).
double LeastSeconds(const StepCost& cost, const MachineRates& rates);

}  // namespace octet
