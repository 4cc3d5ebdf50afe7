// The loop of a training run: batches, updates, held-out losses, checkpoints.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cpu/thread_pool.h"
#include "model/model_tiles.h"
#include "ops/context.h"
#include "tensor/arena.h"
#include "train/adamw.h"
#include "train/learner.h"
#include "train/mixture.h"
#include "train/optimizer.h"
#include "train/router_guard.h"
#include "train/run_state.h"
#include "train/schedule.h"
#include "train/trained_model.h"

namespace octet {

/// What the router's guard does when it finds something.
enum class GuardAction : uint8_t {
  kOff,
  kWarn,      // UpdateReport::warning
  kStop,      // ends the run; the last checkpoint stays
  kRollBack,  // goes back to the last checkpoint, on with other data and half the rate
};

/// What linear maps and their gradients are computed in. Weights, sums, the residual stream, norms,
/// the router, softmax and the optimiser are float in both.
enum class Precision : uint8_t { kFloat32, kBf16 };

struct TrainerOptions {
  Precision precision = Precision::kFloat32;
  LearnerOptions learner;
  OptimizerOptions optimizer;
  Schedule schedule;         // its `steps` is the run's length
  int64_t accumulate = 1;    // micro-batches an update
  double clip_norm = 1;      // 0: never
  double average_decay = 0;  // 0: no average of weights
  uint64_t dropout_seed = 0;
  double balance_bias = 0;  // rate of UpdateBalanceBias; 0: biases stay
  int64_t save_every = 0;   // updates; 0: only at the end
  int64_t held_out_every = 0;
  int keep = 3;
  GuardAction guard = GuardAction::kWarn;
  std::filesystem::path folder;
  CompanionFiles companions;
  std::map<std::string, std::string> identity;  // RunState::identity
  uint64_t reference_model = 0;                 // ReferenceKey::model
  const std::atomic<bool>* stop = nullptr;      // saves, then ends the run
  /// Documents the reference model has judged, of all; while PrepareReference computes.
  std::function<void(int64_t done, int64_t total)> on_reference = {};
};

/// What a source's held-out documents say.
struct HeldOutValue {
  double loss = 0;              // nats a token, or the objective's; NaN: there are none
  double accuracy = 0;          // of pairs and completions
  std::vector<double> margins;  // ObjectiveValue::margins
};

/// One update, as metrics.jsonl has it.
struct UpdateReport {
  int64_t step = 0;  // counted from 1: updates done
  double loss = 0, balance = 0, z = 0;
  double dropped = 0;   // share of the experts' choices beyond their capacity
  double accuracy = 0;  // of pairs and completions
  double rate = 0, grad_norm = 0;
  bool skipped = false;  // a gradient was not finite
  int64_t tokens = 0;    // rows so far
  double seconds = 0;    // so far, over all stretches
  double tokens_per_s = 0;
  double flops_per_s = 0;              // of what learning from these rows needs (TrainingFlops)
  std::vector<HeldOutValue> held_out;  // per source; empty when not measured
  RouterStatistics routers;            // of the last micro-batch
  std::string warning;                 // of the router's guard; empty: none
};

class Trainer {
 public:
  /// `mixture` gives the batches, its sources' held-out documents the held-out losses.
  static Result<std::unique_ptr<Trainer>> Create(TrainedModel trained, Mixture mixture,
                                                 TrainerOptions options, int threads,
                                                 const KernelTable& kernels);

  /// Continues from the newest checkpoint in the folder, if there is one.
  Status Resume();

  /// For objectives with a reference model: Σ log p of every completion of the data under the
  /// weights as they are, so before Resume. Kept in files of the folder, a source each, and
  /// computed only where none fits. kCancelled when stopped meanwhile.
  Status PrepareReference();

  /// Runs to the end or until `stop`; the last state is saved, also when `on_update` ends the run
  /// by an error. kInternal when ten updates in a row had gradients that were not finite, or the
  /// guard is to stop and found something.
  Status Run(const std::function<Status(const UpdateReport&)>& on_update);

  const TrainedModel& trained() const { return trained_; }
  int64_t step() const { return state_.step; }

 private:
  Trainer(TrainedModel trained, Mixture mixture, TrainerOptions options, int threads,
          const KernelTable& kernels);
  Result<UpdateReport> Update();
  /// Lets the guard judge the update and does what it is to do.
  Status Guard(UpdateReport& report);
  Status RollBack(UpdateReport& report);
  Result<std::vector<HeldOutValue>> HeldOut();
  Result<HeldOutValue> HeldOutOf(size_t source);
  Status Save();
  void RefreshTiles() {
    if (tiles_ != nullptr) tiles_->Refresh(context_);
  }
  RunTensors Tensors() { return {trained_, *optimizer_, average_.get()}; }
  std::filesystem::path ReferencePath(const Source& source) const;
  Result<std::vector<double>> ComputeReference(size_t source, int64_t& done, int64_t total);
  void SetReferences(TrainBatch& batch) const;

  TrainedModel trained_;
  Mixture mixture_;
  TrainerOptions options_;
  ThreadPool pool_;
  KernelTable kernels_;
  Arena arena_;
  Context context_;
  std::unique_ptr<ModelTiles> tiles_;  // of bf16 precision
  std::unique_ptr<Learner> learner_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<WeightAverage> average_;
  RouterGuard guard_;
  std::vector<std::vector<double>> reference_;  // [source][document]
  RunState state_;
};

}  // namespace octet
