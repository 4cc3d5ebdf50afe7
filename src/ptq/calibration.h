// Watches a model compute a text, and adds up what its matrices meet.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "model/config.h"
#include "model/observer.h"
#include "ptq/importance.h"

namespace octet {

/// Sums of squares in double, by layer and, for the experts' matrices, by expert.
class ImportanceCollector : public Observer {
 public:
  explicit ImportanceCollector(const ModelConfig& config);

  void OnMatrixInput(TensorRole role, int32_t layer, View<const float, 2> x) override;
  void OnExpertInput(int32_t layer, int32_t expert, View<const float, 2> x,
                     View<const float, 2> hidden) override;

  /// Under the names that a GGUF's tensors have, the experts of a layer in one.
  ImportanceMatrix Matrix() const;
  /// Goes on from an earlier result. kInvalidArgument when it is of another model.
  Status Restore(const ImportanceMatrix& matrix);

  /// Tokens that each expert saw [layers, experts]; one "expert" when dense.
  std::vector<int64_t> ExpertTokens() const;
  int64_t LeastExpertTokens() const;
  /// False once a sum is no number: the model's activations overflow.
  bool finite() const { return finite_; }

 private:
  struct Sums {
    int64_t count = 0;
    std::vector<double> squares;  // [cols]
  };
  /// Where the inputs of a tensor's matrix are summed: wq, wk, wv share theirs, as do w1 and w3.
  Sums* Find(TensorRole role, int32_t layer, int32_t expert);
  void Add(Sums& sums, View<const float, 2> x);

  ModelConfig config_;
  struct Layer {
    Sums attention, output, router;
    std::vector<Sums> experts, hidden;  // [E]
  };
  std::vector<Layer> layers_;
  Sums head_;
  bool finite_ = true;
};

}  // namespace octet
