#include "train/learner.h"

#include <utility>

#include "model/backward.h"

namespace octet {

LearnerValue Learner::Finish(const ObjectiveValue& objective, RouterStatistics routers,
                             double share) const {
  LearnerValue value;
  value.objective = objective;
  value.total = objective.loss;
  value.routers = std::move(routers);
  value.balance = BalanceLoss(value.routers, options_.router.pooled);
  value.z = ZLoss(value.routers);
  value.total += share * (options_.router.balance * value.balance + options_.router.z * value.z);
  return value;
}

LearnerValue Learner::Accumulate(const TrainBatch& batch, double normaliser, double share,
                                 bool begins) {
  log_prob_.assign(batch.target_row.size(), 0.0f);
  d_log_prob_.assign(batch.target_row.size(), 0.0f);
  ForwardOnTape(model_, batch.batch(), tape_, context_);
  const bool tokens = options_.objective.kind == Objective::kTokens;
  // The coefficients of a mean over tokens do not depend on the probabilities: one pass through the
  // head instead of two.
  ObjectiveValue objective;
  if (!tokens) LogProbs(model_, tape_, batch.targets(), log_prob_, context_);
  objective = EvaluateObjective(options_.objective, InputOf(batch, normaliser), d_log_prob_);

  RouterTerms terms{options_.router, MeasureRouters(tape_.routers(), context_), share};
  const bool routed =
      model_.config().is_moe() && (options_.router.balance != 0 || options_.router.z != 0);
  Backward({model_, batch.batch(), tape_, batch.targets(), d_log_prob_, routed ? &terms : nullptr,
            grads_, begins},
           log_prob_, context_);
  if (tokens)
    objective = EvaluateObjective(options_.objective, InputOf(batch, normaliser), d_log_prob_);
  return Finish(objective, std::move(terms.statistics), share);
}

LearnerValue Learner::Evaluate(const TrainBatch& batch) {
  log_prob_.assign(batch.target_row.size(), 0.0f);
  d_log_prob_.assign(batch.target_row.size(), 0.0f);
  ForwardOnTape(model_, batch.batch(), tape_, context_);
  LogProbs(model_, tape_, batch.targets(), log_prob_, context_);
  return Finish(EvaluateObjective(options_.objective, InputOf(batch, 0), d_log_prob_),
                MeasureRouters(tape_.routers(), context_), 1);
}

std::vector<double> Learner::CompletionLogProbs(const TrainBatch& batch) {
  log_prob_.assign(batch.target_row.size(), 0.0f);
  ForwardOnTape(model_, batch.batch(), tape_, context_);
  LogProbs(model_, tape_, batch.targets(), log_prob_, context_);
  std::vector<double> sums;
  for (const Completion& c : batch.completions) {
    double sum = 0;
    for (int64_t i = c.first; i < c.first + c.count; ++i) sum += log_prob_[static_cast<size_t>(i)];
    sums.push_back(sum);
  }
  return sums;
}

}  // namespace octet
