#include "sample/options.h"

#include <cmath>
#include <limits>

namespace octet {
namespace {

/// NaN is outside every range.
Status InRange(const char* name, float value, float low, float high) {
  if (value >= low && value <= high) return {};
  return Err(ErrorCode::kInvalidArgument, "{} is {}, expected a number from {} to {}", name, value,
             low, high);
}

Status AtLeast(const char* name, int32_t value, int32_t low, const char* special) {
  if (value >= low) return {};
  return Err(ErrorCode::kInvalidArgument, "{} is {}, expected {} or more ({})", name, value, low,
             special);
}

Status ValidId(const char* name, int32_t id, int32_t vocab_size) {
  if (id >= 0 && id < vocab_size) return {};
  return Err(ErrorCode::kInvalidArgument,
             "{} names token {}, but the vocabulary has the ids 0 to {}", name, id, vocab_size - 1);
}

Status ValidatePenalties(const SamplingOptions& o) {
  OCTET_TRY(InRange("repeat_penalty", o.repeat_penalty, 0.01f, 100));
  OCTET_TRY(InRange("presence_penalty", o.presence_penalty, -100, 100));
  OCTET_TRY(InRange("frequency_penalty", o.frequency_penalty, -100, 100));
  OCTET_TRY(AtLeast("penalty_last_n", o.penalty_last_n, -1, "-1: the whole context"));
  OCTET_TRY(InRange("dry_multiplier", o.dry_multiplier, 0, 100));
  OCTET_TRY(InRange("dry_base", o.dry_base, 1, 100));
  OCTET_TRY(AtLeast("dry_allowed_length", o.dry_allowed_length, 1, "tokens"));
  OCTET_TRY(AtLeast("dry_last_n", o.dry_last_n, -1, "-1: the whole context"));
  for (const std::string& breaker : o.dry_sequence_breakers) {
    if (breaker.empty()) {
      return Err(ErrorCode::kInvalidArgument, "dry_sequence_breakers has an empty string");
    }
  }
  return {};
}

Status ValidateIds(const SamplingOptions& o, int32_t vocab_size) {
  // Biases are far below the largest float, so that logit + bias stays finite.
  constexpr float kLargestBias = 1e6f;
  for (const auto& [id, bias] : o.logit_bias) {
    OCTET_TRY(ValidId("logit_bias", id, vocab_size));
    if (bias == -std::numeric_limits<float>::infinity()) continue;
    if (!(std::abs(bias) <= kLargestBias)) {
      return Err(ErrorCode::kInvalidArgument,
                 "logit_bias of token {} is {}, expected -inf or a number from -1e6 to 1e6", id,
                 bias);
    }
  }
  for (const int32_t id : o.banned_ids) OCTET_TRY(ValidId("banned_ids", id, vocab_size));
  return {};
}

}  // namespace

SamplingOptions SamplingOptions::Plain() {
  SamplingOptions options;
  options.temperature = 1;
  options.top_k = 0;
  options.top_p = 1;
  options.min_p = 0;
  return options;
}

SamplingOptions SamplingOptions::Greedy() {
  SamplingOptions options = Plain();
  options.temperature = 0;
  return options;
}

Status Validate(const SamplingOptions& o, int32_t vocab_size) {
  OCTET_TRY(InRange("temperature", o.temperature, 0, 100));
  OCTET_TRY(AtLeast("top_k", o.top_k, 0, "0: off"));
  OCTET_TRY(InRange("top_p", o.top_p, 0, 1));
  OCTET_TRY(InRange("min_p", o.min_p, 0, 1));
  OCTET_TRY(InRange("typical_p", o.typical_p, 0, 1));
  OCTET_TRY(InRange("mirostat_tau", o.mirostat_tau, 0, 100));
  OCTET_TRY(InRange("mirostat_eta", o.mirostat_eta, 0, 1));
  OCTET_TRY(ValidatePenalties(o));
  return ValidateIds(o, vocab_size);
}

}  // namespace octet
