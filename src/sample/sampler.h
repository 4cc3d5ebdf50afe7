// One sequence's sampler: logits in, a token out.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sample/candidates.h"
#include "sample/options.h"
#include "sample/penalties.h"
#include "text/tokenizer.h"

namespace octet {

/// What a sampler must know of the vocabulary.
struct SamplerVocabulary {
  int32_t size = 0;
  std::vector<int32_t> end_ids;          // banned by ignore_eos
  std::vector<int32_t> dry_breaker_ids;  // from DryBreakerIds
};

/// The tokens that hold one of the strings: where DRY stops looking for repetitions.
/// kInvalidArgument for a string no single token holds.
Result<std::vector<int32_t>> DryBreakerIds(const Tokenizer& tokenizer,
                                           std::span<const std::string> breakers);

class Sampler {
 public:
  /// Checks the options against the vocabulary.
  static Result<Sampler> Create(const SamplingOptions& options,
                                const SamplerVocabulary& vocabulary);

  /// The next token of a sequence, or -1 when no token has a finite logit left. `logits` [vocab] of
  /// the last token, which are written to meanwhile and as they were afterwards; `history` every
  /// token so far, prompt included, ids in range; `position` is that of the token to be chosen. The
  /// same options, logits, history and position give the same token (with mirostat: after the same
  /// calls before). `allowed`: a bit for each id, 1 where it may be chosen, ids beyond it may not;
  /// empty: all may.
  int32_t Sample(std::span<float> logits, std::span<const int32_t> history, int64_t position,
                 std::span<const uint64_t> allowed = {});

  /// Goes on from where `other`, made with the same options, is: what it has learned from the
  /// tokens it chose (mirostat).
  void Follow(const Sampler& other) { mirostat_mu_ = other.mirostat_mu_; }

  /// The distribution the last Sample drew from, in no particular order; its logits must still be
  /// there. Not under a ban or bias alone.
  std::vector<Candidate> candidates() const { return candidates_.Distribution(); }

  const SamplingOptions& options() const { return options_; }

 private:
  Sampler(const SamplingOptions& options, const SamplerVocabulary& vocabulary);
  bool Penalises() const;
  void Penalise(std::span<const int32_t> history);
  void SetApart(std::span<float> logits);
  void PutBack(std::span<float> logits);
  int32_t Choose(std::span<const float> logits, int64_t position,
                 std::span<const uint64_t> allowed);
  int32_t Draw(int64_t position);
  int32_t DrawMirostat(int64_t position);

  SamplingOptions options_;
  std::vector<int32_t> banned_;  // bans of every kind
  DryPenalty dry_;
  CandidateSet candidates_;
  std::vector<std::pair<int32_t, float>> apart_;  // banned and biased ids: what they had
  std::vector<float> logits_;                     // [vocab] a copy, penalised
  std::vector<int32_t> counts_;                   // [vocab] zero between steps
  double mirostat_mu_;                            // bits; the most surprise a candidate may have
};

}  // namespace octet
