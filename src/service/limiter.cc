#include "service/limiter.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace octet {

void SlidingSum::Advance(int64_t now_ms) {
  const int64_t now = now_ms / width_ms_;
  const auto size = static_cast<int64_t>(counts_.size());
  for (int64_t n = 0; newest_ < now && n < size; ++n) {
    newest_ = n == 0 ? std::max(newest_, now - size) + 1 : newest_ + 1;
    int64_t& oldest = counts_[Place(newest_)];
    total_ -= oldest;
    oldest = 0;
  }
}

void SlidingSum::Add(int64_t at_ms, int64_t amount) {
  Advance(at_ms);
  const int64_t bucket = at_ms / width_ms_;
  if (bucket <= newest_ - static_cast<int64_t>(counts_.size())) return;
  counts_[Place(bucket)] += amount;
  total_ += amount;
}

int64_t SlidingSum::Total(int64_t now_ms) {
  Advance(now_ms);
  return total_;
}

int64_t SlidingSum::WaitFor(int64_t now_ms, int64_t most) {
  Advance(now_ms);
  const auto size = static_cast<int64_t>(counts_.size());
  int64_t left = total_;
  for (int64_t bucket = newest_ - size + 1; left > most && bucket <= newest_; ++bucket) {
    left -= counts_[Place(bucket)];
    if (left <= most) return std::max<int64_t>(1, (bucket + size) * width_ms_ - now_ms);
  }
  return 0;
}

std::array<Limiter::Rule, 4> Limiter::Rules(int64_t key, const KeyLimits& l) {
  Windows& w = keys_[key];
  return {{{&w.minute_requests, l.requests_per_minute, "requests", "requests a minute", false},
           {&w.minute_tokens, l.tokens_per_minute, "tokens", "tokens a minute", true},
           {&w.day_requests, l.requests_per_day, "requests-day", "requests a day", false},
           {&w.day_tokens, l.tokens_per_day, "tokens-day", "tokens a day", true}}};
}

bool Limiter::Reserve(int64_t key, const KeyLimits& limits, int64_t tokens, int64_t now_ms,
                      LimitRefusal& refusal) {
  refusal = {};
  const auto rules = Rules(key, limits);
  for (const Rule& rule : rules) {
    const int64_t amount = rule.tokens ? tokens : 1;
    if (rule.limit == 0) continue;
    if (amount > rule.limit) {
      refusal.message =
          fmt::format("the prompt and max_tokens together are {} tokens; this key may use {} {}",
                      amount, rule.limit, rule.words);
      refusal.never = true;
      return false;
    }
    const int64_t wait = rule.sum->WaitFor(now_ms, rule.limit - amount);
    if (wait <= refusal.retry_ms) continue;
    refusal.retry_ms = wait;
    refusal.message = fmt::format("this key may use {} {}; {} are used or reserved, {} are asked",
                                  rule.limit, rule.words, rule.sum->Total(now_ms), amount);
  }
  if (refusal.retry_ms > 0) return false;
  for (const Rule& rule : rules) rule.sum->Add(now_ms, rule.tokens ? tokens : 1);
  return true;
}

void Limiter::GiveBack(int64_t key, int64_t at_ms, int64_t tokens, bool request) {
  for (const Rule& rule : Rules(key, {})) {
    rule.sum->Add(at_ms, rule.tokens ? -tokens : request ? -1 : 0);
  }
}

int64_t Limiter::TokensLeft(int64_t key, const KeyLimits& limits, int64_t now_ms) {
  int64_t left = std::numeric_limits<int64_t>::max();
  for (const Rule& rule : Rules(key, limits)) {
    if (rule.tokens && rule.limit > 0) left = std::min(left, rule.limit - rule.sum->Total(now_ms));
  }
  return left;
}

LimitStates Limiter::States(int64_t key, const KeyLimits& limits, int64_t now_ms) {
  LimitStates states;
  const auto rules = Rules(key, limits);
  for (size_t i = 0; i < states.size(); ++i) {
    const Rule& rule = rules[i];
    const int64_t left = std::max<int64_t>(0, rule.limit - rule.sum->Total(now_ms));
    states[i] = {rule.name, rule.limit, left, rule.sum->WaitFor(now_ms, 0)};
  }
  return states;
}

void Limiter::AddMinute(int64_t key, int64_t at_ms, int64_t requests, int64_t tokens) {
  keys_[key].minute_requests.Add(at_ms, requests);
  keys_[key].minute_tokens.Add(at_ms, tokens);
}

void Limiter::AddDay(int64_t key, int64_t at_ms, int64_t requests, int64_t tokens) {
  keys_[key].day_requests.Add(at_ms, requests);
  keys_[key].day_tokens.Add(at_ms, tokens);
}

}  // namespace octet
