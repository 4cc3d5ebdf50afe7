#include "server/sampling_fields.h"

#include <fmt/format.h>

#include <charconv>

namespace octet {
namespace {

constexpr int32_t kMostTokens = 1 << 24;

/// {"432": -100}: OpenAI's form.
void ReadLogitBias(JsonFields& fields, SamplingOptions& sampling) {
  const nlohmann::json* value = fields.Find("logit_bias");
  if (value == nullptr) return;
  constexpr size_t kMost = 4096;
  constexpr double kLargest = 1e6;
  if (!value->is_object() || value->size() > kMost) {
    return fields.Fail("logit_bias",
                       fmt::format("logit_bias: expected an object of at most {} token ids and "
                                   "numbers, such as {{\"432\": -100}}",
                                   kMost));
  }
  for (const auto& [key, bias] : value->items()) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    const bool is_id = error == std::errc() && end == key.data() + key.size() && id >= 0;
    const double number = bias.is_number() ? bias.get<double>() : kLargest * 2;
    if (!is_id || !(number >= -kLargest && number <= kLargest)) {
      return fields.Fail("logit_bias",
                         fmt::format("logit_bias: \"{}\": expected a token id and a number from "
                                     "-1e6 to 1e6",
                                     key.substr(0, 40)));
    }
    sampling.logit_bias.emplace_back(id, static_cast<float>(number));
  }
}

void ReadSeed(JsonFields& fields, GenerationRequest& request) {
  for (const char* name : {"seed", "random_seed"}) {
    if (fields.Find(name) == nullptr) continue;
    int64_t seed = 0;
    fields.Integer(name, seed, std::numeric_limits<int64_t>::min(),
                   std::numeric_limits<int64_t>::max());
    request.sampling.seed = static_cast<uint64_t>(seed);
    request.has_seed = true;
  }
}

}  // namespace

void ReadSampling(JsonFields& fields, GenerationRequest& request) {
  SamplingOptions& s = request.sampling;
  s = SamplingOptions::Plain();
  s.penalty_last_n = -1;
  fields.Number("temperature", s.temperature, 0, 100);
  fields.Number("top_p", s.top_p, 0, 1);
  fields.Number("presence_penalty", s.presence_penalty, -100, 100);
  fields.Number("frequency_penalty", s.frequency_penalty, -100, 100);
  ReadSeed(fields, request);
  ReadLogitBias(fields, s);

  fields.Integer("top_k", s.top_k, 0, kMostTokens);
  fields.Number("min_p", s.min_p, 0, 1);
  fields.Number("typical_p", s.typical_p, 0, 1);
  fields.Bool("temperature_first", s.temperature_first);
  fields.Number("mirostat_tau", s.mirostat_tau, 0, 100);
  fields.Number("mirostat_eta", s.mirostat_eta, 0, 1);
  fields.Number("repeat_penalty", s.repeat_penalty, 0.01f, 100);
  fields.Number("repetition_penalty", s.repeat_penalty, 0.01f, 100);
  fields.Integer("repeat_last_n", s.penalty_last_n, -1, kMostTokens);
  fields.Number("dry_multiplier", s.dry_multiplier, 0, 100);
  fields.Number("dry_base", s.dry_base, 1, 100);
  fields.Integer("dry_allowed_length", s.dry_allowed_length, 1, kMostTokens);
  fields.Integer("dry_last_n", s.dry_last_n, -1, kMostTokens);
  fields.Texts("dry_sequence_breakers", s.dry_sequence_breakers, 64);
  fields.Bool("ignore_eos", s.ignore_eos);
}

}  // namespace octet
