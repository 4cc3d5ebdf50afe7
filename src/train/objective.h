// What is learned: rules from per-token log-probabilities to a loss and its derivatives by them.
// All share one backward pass. docs/math/objectives.md.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace octet {

enum class Objective : uint8_t {
  kTokens,  // weighted mean of -log p: pre-training, supervised fine-tuning
  kDpo,     // Rafailov et al. 2023; with label smoothing cDPO (Mitchell 2023)
  kIpo,     // Azar et al. 2023, on mean log-probabilities
  kKto,     // Ethayarajh et al. 2024
  kOrpo,    // Hong et al. 2024
  kSimPo,   // Meng et al. 2024
};
/// "tokens" (also "sft"), "dpo" …; an error lists the names.
Result<Objective> ParseObjective(std::string_view name);
/// True when completions come in pairs, chosen then rejected.
bool IsPairwise(Objective objective);
/// True when a reference model's log-probabilities are needed.
bool NeedsReference(Objective objective);

struct ObjectiveOptions {
  Objective kind = Objective::kTokens;
  double beta = 0.1;
  double label_smoothing = 0;     // kDpo: probability that a pair is the wrong way round
  double gamma = 0.5;             // kSimPo: target margin
  double lambda = 0.1;            // kOrpo: weight of the odds ratio
  double desirable_weight = 1;    // kKto
  double undesirable_weight = 1;  // kKto
};

/// Log-probabilities of one completion are [first, first + count).
struct Completion {
  int64_t first = 0, count = 0;
  double reference = 0;   // sum of the reference model's log-probabilities
  bool desirable = true;  // kKto
  // Where it comes from, when it was taken from a Mixture:
  int32_t source = -1;
  int64_t document = -1;
};

struct ObjectiveInput {
  std::span<const float> log_prob;  // [R]
  std::span<const float> weight;    // [R], kTokens only; empty: all 1
  std::span<const Completion> completions;
  /// What the losses are averaged over: the sum of weights, the number of pairs or completions of
  /// all micro-batches of an update; 0: of this input.
  double normaliser = 0;
  /// kKto: the policy's divergence from the reference, from mismatched completions; negative: the
  /// mean over these completions, at least 0.
  double kl = -1;
};

struct ObjectiveValue {
  double loss = 0;
  // Of pairs and completions; sums, to be divided by `count`:
  double correct = 0;  // pairs whose chosen completion has the higher reward
  double reward_chosen = 0, reward_rejected = 0;
  int64_t count = 0;
  std::vector<double> margins;  // of each pair: the chosen completion's reward less the rejected's
};

/// The normaliser this input has by itself.
double NaturalNormaliser(const ObjectiveOptions& options, const ObjectiveInput& input);

/// Writes ∂loss/∂log_prob [R].
ObjectiveValue EvaluateObjective(const ObjectiveOptions& options, const ObjectiveInput& input,
                                 std::span<float> d_log_prob);

}  // namespace octet
