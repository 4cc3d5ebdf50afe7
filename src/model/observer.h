// Named activations of a forward pass, for dumps, calibration and routing traces.
#pragma once

#include <cstdint>

#include "model/batch.h"
#include "model/tensor_specs.h"
#include "tensor/view.h"

namespace octet {

/// Called on the thread that runs Forward, after the named value is complete. Views die with the
/// call.
class Observer {
 public:
  virtual ~Observer() = default;
  /// Whether it wants more than OnRouting; the final norm of every row is computed only then.
  virtual bool wants_activations() const { return true; }
  /// Without it the last layer chooses experts only for the rows whose logits are wanted, and
  /// OnRouting hears of those.
  virtual bool wants_every_row() const { return true; }
  /// "embed", "attn_out", "h_mid", "ffn_out", "layer_out", "final_norm", "router_logits": float
  /// rows [T, width]; layer is -1 for the first and the last-but-one.
  virtual void OnActivation(const char* name, int32_t layer, View<const float, 2> value) {
    (void)name, (void)layer, (void)value;
  }
  /// Chosen experts, best first [T, k], and their weights, which sum to 1. Rows under
  /// ExpertControls may have fewer: -1 then.
  virtual void OnRouting(int32_t layer, View<const int32_t, 2> experts,
                         View<const float, 2> weights) {
    (void)layer, (void)experts, (void)weights;
  }
  /// The rows that a matrix multiplies: kWq (wk and wv have the same), kWo, kRouter, and with layer
  /// -1 kHead (of every row, not of the logit rows alone).
  virtual void OnMatrixInput(TensorRole role, int32_t layer, View<const float, 2> x) {
    (void)role, (void)layer, (void)x;
  }
  /// The rows that go into expert `e`'s w1 and w3 (width d_model) and w2 (width d_ff); a dense
  /// model is expert 0.
  virtual void OnExpertInput(int32_t layer, int32_t expert, View<const float, 2> x,
                             View<const float, 2> hidden) {
    (void)layer, (void)expert, (void)x, (void)hidden;
  }
};

}  // namespace octet
