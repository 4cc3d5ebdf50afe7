#include "sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/rng.h"

namespace octet {

Result<std::vector<int32_t>> DryBreakerIds(const Tokenizer& tokenizer,
                                           std::span<const std::string> breakers) {
  std::vector<int32_t> ids;
  for (const std::string& breaker : breakers) {
    const size_t before = ids.size();
    for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
      if (tokenizer.TokenBytes(id).find(breaker) != std::string_view::npos) ids.push_back(id);
    }
    if (ids.size() == before) {
      return Err(ErrorCode::kInvalidArgument,
                 "dry_sequence_breakers: no token of this vocabulary holds \"{}\"; use strings of "
                 "a character or two",
                 breaker);
    }
  }
  return ids;
}

Result<Sampler> Sampler::Create(const SamplingOptions& options,
                                const SamplerVocabulary& vocabulary) {
  OCTET_TRY(Validate(options, vocabulary.size));
  return Sampler(options, vocabulary);
}

Sampler::Sampler(const SamplingOptions& options, const SamplerVocabulary& vocabulary)
    : options_(options),
      banned_(options.banned_ids),
      dry_(options, vocabulary.size, vocabulary.dry_breaker_ids),
      candidates_(vocabulary.size),
      counts_(static_cast<size_t>(vocabulary.size), 0),
      mirostat_mu_(2.0 * options.mirostat_tau) {
  if (options.ignore_eos) {
    banned_.insert(banned_.end(), vocabulary.end_ids.begin(), vocabulary.end_ids.end());
  }
  // All room at once, so that steps do not allocate.
  apart_.reserve(options.logit_bias.size() + banned_.size());
  if (Penalises()) logits_.reserve(static_cast<size_t>(vocabulary.size));
}

bool Sampler::Penalises() const {
  return options_.dry_multiplier != 0 || options_.repeat_penalty != 1 ||
         options_.presence_penalty != 0 || options_.frequency_penalty != 0;
}

void Sampler::Penalise(std::span<const int32_t> history) {
  ApplyPenalties(options_, history, counts_, logits_);
  dry_.Apply(history, logits_);
}

/// Bans and biases are few: the logits bear them for a while, which is cheaper than a copy.
void Sampler::SetApart(std::span<float> logits) {
  apart_.clear();
  const auto change = [&](int32_t id, float to) {
    apart_.emplace_back(id, std::exchange(logits[static_cast<size_t>(id)], to));
  };
  for (const auto& [id, bias] : options_.logit_bias)
    change(id, logits[static_cast<size_t>(id)] + bias);
  for (const int32_t id : banned_) change(id, -std::numeric_limits<float>::infinity());
}

/// The last change first: an id may have several.
void Sampler::PutBack(std::span<float> logits) {
  for (auto i = apart_.rbegin(); i != apart_.rend(); ++i)
    logits[static_cast<size_t>(i->first)] = i->second;
}

int32_t Sampler::Sample(std::span<float> logits, std::span<const int32_t> history, int64_t position,
                        std::span<const uint64_t> allowed) {
  CHECK(logits.size() == counts_.size());
  SetApart(logits);
  int32_t id = -1;
  if (Penalises()) {
    logits_.assign(logits.begin(), logits.end());
    Penalise(history);
    id = Choose(logits_, position, allowed);
  } else {
    id = Choose(logits, position, allowed);
  }
  PutBack(logits);
  return id;
}

int32_t Sampler::Choose(std::span<const float> logits, int64_t position,
                        std::span<const uint64_t> allowed) {
  allowed.empty() ? candidates_.Gather(logits) : candidates_.Gather(logits, allowed);
  if (candidates_.empty()) return -1;
  if (options_.temperature == 0) {
    candidates_.KeepBest();
    candidates_.Normalise();
    return candidates_.At(0).id;
  }
  return options_.mirostat_tau > 0 ? DrawMirostat(position) : Draw(position);
}

int32_t Sampler::Draw(int64_t position) {
  if (options_.temperature_first) candidates_.Scale(options_.temperature);
  candidates_.TopK(options_.top_k);
  candidates_.TypicalP(options_.typical_p);
  candidates_.TopP(options_.top_p);
  candidates_.MinP(options_.min_p);
  if (!options_.temperature_first) candidates_.Scale(options_.temperature);
  candidates_.Normalise();
  const double u = RandomUniform(options_.seed, options_.stream, static_cast<uint64_t>(position));
  return candidates_.At(u).id;
}

int32_t Sampler::DrawMirostat(int64_t position) {
  candidates_.Scale(options_.temperature);
  const double left = candidates_.MaxSurprise(mirostat_mu_);
  candidates_.Normalise();
  const double u = RandomUniform(options_.seed, options_.stream, static_cast<uint64_t>(position));
  const Candidate chosen = candidates_.At(u);
  // The surprise under the whole distribution, as in the paper; llama.cpp takes it after the
  // truncation.
  const double surprise = -std::log2(chosen.p * left);
  mirostat_mu_ -= options_.mirostat_eta * (surprise - options_.mirostat_tau);
  return chosen.id;
}

}  // namespace octet
