// Where the tokens of steps go: what each expert had to do, and the bytes of weights that were
// read.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "engine/request.h"
#include "model/observer.h"
#include "model/weights.h"

namespace octet {

/// Listens to every step of an engine. Costs nothing a layer but a count of its rows; the rows
/// themselves are kept only of steps in which somebody asks for them.
class RoutingRecorder : public Observer {
 public:
  /// `most_rows`: of a step.
  RoutingRecorder(const Model& model, int64_t most_rows);

  void BeginStep(bool keep_rows);
  void OnRouting(int32_t layer, View<const int32_t, 2> experts,
                 View<const float, 2> weights) override;
  bool wants_activations() const override { return false; }
  bool wants_every_row() const override { return keep_rows_; }

  /// Of the last step: the matrices of the layers and the head, of experts those that had a row.
  int64_t StepBytes() const { return step_bytes_; }
  /// Row `row` of the last step, which was kept; empty for a dense model.
  TokenRouting Row(int64_t row, int32_t position) const;

  /// Rows that each expert computed since the beginning [n_layers * n_experts]; empty for a dense
  /// model. From any thread.
  std::vector<int64_t> Load() const;

 private:
  const int64_t n_layers_, n_experts_;
  int64_t shared_bytes_ = 0;           // read in every step
  std::vector<int64_t> expert_bytes_;  // [n_layers * n_experts]
  std::vector<std::atomic<int64_t>> load_;
  std::vector<int64_t> counts_;  // of one layer's rows [n_experts]
  int64_t step_bytes_ = 0;
  bool keep_rows_ = false;
  std::vector<int32_t> experts_;  // [n_layers, most_rows, n_experts] of the last step, -1: none
  std::vector<float> weights_;
  const int64_t most_rows_;
};

}  // namespace octet
