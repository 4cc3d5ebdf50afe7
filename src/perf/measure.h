// How long one forward step takes, and what it had to read for it.
#pragma once

#include <cstdint>
#include <vector>

#include "model/forward.h"

namespace octet {

/// One kind of step: `batch` sequences at `depth` past tokens, each taking `rows` new ones.
struct StepShape {
  int64_t batch = 1;
  int64_t rows = 1;   // 1: decode; more: a prompt
  int64_t depth = 0;  // tokens already in the cache (made up, not computed)
};

struct StepCost {
  int64_t weight_bytes =
      0;  // of the matrices one step touches, each once: counted from the actual routing
  int64_t kv_bytes = 0;  // of keys and values it reads
  double flops = 0;      // 2 per multiply-add of matrices and attention
};

/// Runs steps of one shape on a model with random tokens. Create it, then time Step() as often as
/// wanted, interleaved with others.
class StepRunner {
 public:
  static Result<StepRunner> Create(const Model& model, const StepShape& shape, Format kv_format);

  /// One step; seconds. The same tokens at the same positions each time.
  double Step(Context& context);
  /// Counted in an extra step.
  StepCost Cost(Context& context);

  const StepShape& shape() const { return shape_; }
  int64_t tokens() const { return shape_.batch * shape_.rows; }

 private:
  StepRunner(const Model& model, const StepShape& shape, KvCache kv)
      : model_(&model), shape_(shape), kv_(std::move(kv)) {}
  Status FillCache();

  const Model* model_;
  StepShape shape_;
  KvCache kv_;
  std::vector<int32_t> token_, position_, sequence_, logit_rows_;
};

}  // namespace octet
