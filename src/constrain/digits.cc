#include "constrain/digits.h"

#include <algorithm>
#include <string>

namespace octet {
namespace {

int64_t Power10(int32_t n) {
  int64_t p = 1;
  for (int32_t i = 0; i < n; ++i) p *= 10;
  return p;
}

ExprId DigitClass(GrammarBuilder& builder, char low, char high) {
  return builder.Class({{static_cast<char32_t>(low), static_cast<char32_t>(high)}});
}

ExprId AnyDigits(GrammarBuilder& builder, size_t count) {
  const auto n = static_cast<int32_t>(count);
  return builder.Repeat(DigitClass(builder, '0', '9'), n, n);
}

/// Strings of digits from `low` to `high`, which have the same length.
ExprId SameLength(GrammarBuilder& builder, std::string_view low, std::string_view high) {
  if (low == high) return builder.Literal(low);
  const bool all = low.find_first_not_of('0') == std::string_view::npos &&
                   high.find_first_not_of('9') == std::string_view::npos;
  if (all) return AnyDigits(builder, low.size());
  const std::string_view low_rest = low.substr(1), high_rest = high.substr(1);
  if (low[0] == high[0]) {
    return builder.Sequence(
        {builder.Literal(low.substr(0, 1)), SameLength(builder, low_rest, high_rest)});
  }
  const std::string nines(low_rest.size(), '9'), zeros(low_rest.size(), '0');
  std::vector<ExprId> ways;
  char first = low[0], last = high[0];
  if (low_rest != zeros) {
    ways.push_back(builder.Sequence(
        {builder.Literal(low.substr(0, 1)), SameLength(builder, low_rest, nines)}));
    ++first;
  }
  if (high_rest != nines) --last;
  if (first <= last) {
    ways.push_back(
        builder.Sequence({DigitClass(builder, first, last), AnyDigits(builder, low_rest.size())}));
  }
  if (high_rest != nines) {
    ways.push_back(builder.Sequence(
        {builder.Literal(high.substr(0, 1)), SameLength(builder, zeros, high_rest)}));
  }
  return builder.Alternatives(std::move(ways));
}

/// 0 ≤ low ≤ high, without leading zeros.
ExprId Naturals(GrammarBuilder& builder, int64_t low, int64_t high) {
  std::vector<ExprId> ways;
  for (int64_t begin = low; begin <= high;) {
    const std::string digits = std::to_string(begin);
    const int64_t end = std::min(high, Power10(static_cast<int32_t>(digits.size())) - 1);
    ways.push_back(SameLength(builder, digits, std::to_string(end)));
    begin = end + 1;
  }
  return builder.Alternatives(std::move(ways));
}

std::string Padded(int64_t value, int32_t digits) {
  const std::string text = std::to_string(value);
  return std::string(static_cast<size_t>(digits) - text.size(), '0') + text;
}

/// 0 ≤ low ≤ high, in units of 10^-decimals.
ExprId PositiveNumbers(GrammarBuilder& builder, int64_t low, int64_t high, int32_t decimals) {
  const int64_t unit = Power10(decimals);
  // Fifteen digits in all, at least one of them behind the point where there are any.
  const auto whole_digits = static_cast<int32_t>(std::to_string(high / unit).size());
  const int32_t free_digits = std::min(9, 15 - whole_digits);
  std::vector<ExprId> ways;
  const auto part = [&](int64_t whole, int64_t from, int64_t to) {
    ways.push_back(
        builder.Sequence({builder.Literal(std::to_string(whole) + "."),
                          SameLength(builder, Padded(from, decimals), Padded(to, decimals))}));
  };
  int64_t first = low / unit, last = high / unit;
  if (low % unit != 0) {
    part(first, low % unit, first == last ? high % unit : unit - 1);
    ++first;
  }
  if (first <= last) {
    ways.push_back(Naturals(builder, first, last));
    if (high % unit != 0) part(last, 0, high % unit);
    if (first < last && free_digits > 0) {
      ways.push_back(
          builder.Sequence({Naturals(builder, first, last - 1), builder.Literal("."),
                            builder.Repeat(DigitClass(builder, '0', '9'), 1, free_digits)}));
    }
  }
  return builder.Alternatives(std::move(ways));
}

}  // namespace

ExprId IntegersBetween(GrammarBuilder& builder, int64_t low, int64_t high) {
  std::vector<ExprId> ways;
  if (high >= 0) ways.push_back(Naturals(builder, std::max<int64_t>(0, low), high));
  if (low < 0) {
    ways.push_back(builder.Sequence(
        {builder.Literal("-"), Naturals(builder, std::max<int64_t>(1, -high), -low)}));
  }
  return builder.Alternatives(std::move(ways));
}

ExprId NumbersBetween(GrammarBuilder& builder, const NumberBounds& bounds) {
  std::vector<ExprId> ways;
  const auto [low, high, decimals] = bounds;
  if (high >= 0)
    ways.push_back(PositiveNumbers(builder, std::max<int64_t>(0, low), high, decimals));
  if (low < 0) {
    ways.push_back(builder.Sequence(
        {builder.Literal("-"), PositiveNumbers(builder, high < 0 ? -high : 0, -low, decimals)}));
  }
  return builder.Alternatives(std::move(ways));
}

}  // namespace octet
