#include "train/learner.h"

#include <algorithm>
#include <utility>

#include "model/backward.h"
#include "ops/expert_plan.h"

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

double Learner::DroppedShare(const RouterStatistics& routers) const {
  const ModelConfig& c = model_.config();
  const int64_t k = c.n_experts_per_token;
  const int64_t capacity =
      c.is_moe() ? ExpertCapacity(options_.capacity_factor, routers.rows, k, c.n_experts) : 0;
  if (capacity == 0) return 0;
  int64_t dropped = 0;
  for (const int64_t load : routers.load) dropped += std::max<int64_t>(0, load - capacity);
  return static_cast<double>(dropped) / static_cast<double>(routers.layers * routers.rows * k);
}

LearnerValue Learner::Accumulate(const TrainBatch& batch, double normaliser, double share,
                                 bool begins) {
  log_prob_.assign(batch.target_row.size(), 0.0f);
  d_log_prob_.assign(batch.target_row.size(), 0.0f);
  tape_.LimitExperts(options_.capacity_factor);
  tape_.LeaveOut({options_.dropout, batch.dropout_seed});
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
  tape_.LimitExperts(0);
  tape_.LeaveOut({});
  const double dropped = DroppedShare(terms.statistics);
  LearnerValue value = Finish(objective, std::move(terms.statistics), share);
  value.dropped = dropped;
  return value;
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
