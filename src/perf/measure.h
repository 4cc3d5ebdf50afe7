// How long forward steps take, and what each had to read and compute.
#pragma once

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

  int64_t tokens() const { return batch * rows; }
};

struct StepCost {
  int64_t weight_bytes =
      0;  // of the matrices one step touches, each once: counted from the actual routing
  int64_t kv_bytes = 0;         // of keys and values it reads
  double flops = 0;             // 2 per multiply-add of matrices and attention
  double int8_flops = 0;        // of these, products that may be computed in 8 bits
  int64_t experts_touched = 0;  // over all layers; 0 for a dense model
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

  /// One step of shape `i`; seconds. The same tokens at the same positions each time.
  double Step(size_t i, Context& context);
  /// Counted in an extra step.
  StepCost Cost(size_t i, Context& context);

  const std::vector<StepShape>& shapes() const { return shapes_; }

 private:
  struct Rows {
    std::vector<int32_t> token, position, sequence, logit_rows;
    Batch batch() const { return {token, position, sequence, logit_rows}; }
  };
  StepBench(const Model& model, std::vector<StepShape> shapes, KvCache kv)
      : model_(&model), shapes_(std::move(shapes)), kv_(std::move(kv)) {}
  Status FillCache();
  void AddRows(const StepShape& shape);
  void CountMatrices(const StepShape& shape, int64_t logit_rows, class TouchedExperts& touched,
                     StepCost& cost) const;

  const Model* model_;
  std::vector<StepShape> shapes_;
  std::vector<Rows> rows_;  // [shapes]
  KvCache kv_;              // sequence b serves the b-th of every shape
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
