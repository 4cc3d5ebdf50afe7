// One step of learning: forward, objective, backward.
#pragma once

#include <vector>

#include "model/parameters.h"
#include "model/tape.h"
#include "model/weights.h"
#include "ops/context.h"
#include "train/objective.h"
#include "train/train_batch.h"

namespace octet {

struct LearnerOptions {
  ObjectiveOptions objective;
  RouterLossOptions router;
  Recompute recompute = Recompute::kNone;
  /// Of Accumulate alone: what an expert takes of a batch, as a multiple of an even share
  /// (ExpertCapacity); 0: all choices.
  double capacity_factor = 0;
  double dropout = 0;  // of Accumulate alone: the share of each branch's output that is left out
};

struct LearnerValue {
  ObjectiveValue objective;
  double balance = 0, z = 0;  // the router's losses, without coefficients
  double total = 0;           // objective + coefficients · router losses
  double dropped = 0;         // share of the choices that found no room
  RouterStatistics routers;
};

class Learner {
 public:
  /// `model`, `grads` and `context` must outlive it.
  Learner(const Model& model, const Gradients& grads, const LearnerOptions& options,
          Context& context)
      : model_(model),
        grads_(grads),
        options_(options),
        context_(context),
        tape_(model.config(), options.recompute) {}

  /// Adds a micro-batch's gradient, or with `begins` writes it: not where there are adapters, whose
  /// gradients are only added. `normaliser` is that of the whole update (0: this batch alone),
  /// `share` this batch's part of it for the router's losses: 1 / number of micro-batches.
  LearnerValue Accumulate(const TrainBatch& batch, double normaliser = 0, double share = 1,
                          bool begins = false);

  /// The losses alone.
  LearnerValue Evaluate(const TrainBatch& batch);

  /// Σ log p of every completion: what a reference model contributes.
  std::vector<double> CompletionLogProbs(const TrainBatch& batch);

  int64_t tape_bytes() const { return tape_.bytes(); }

 private:
  ObjectiveInput InputOf(const TrainBatch& batch, double normaliser) const {
    return {log_prob_, batch.weight, batch.completions, normaliser};
  }
  double DroppedShare(const RouterStatistics& routers) const;
  LearnerValue Finish(const ObjectiveValue& objective, RouterStatistics routers,
                      double share) const;

  const Model& model_;
  const Gradients& grads_;
  LearnerOptions options_;
  Context& context_;
  Tape tape_;
  std::vector<float> log_prob_, d_log_prob_;
};

}  // namespace octet
