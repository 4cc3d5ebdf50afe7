// Numbers between bounds, as grammar.
#pragma once

#include <cstdint>

#include "constrain/grammar.h"

namespace octet {

/// Decimal fixed-point bounds: the numbers low / 10^decimals to high / 10^decimals, inclusive.
struct NumberBounds {
  int64_t low = 0, high = 0;
  int32_t decimals = 0;
};

/// Of this magnitude at most: what a double holds exactly.
inline constexpr int64_t kLargestBound = 999'999'999'999'999;

/// The whole numbers from `low` to `high` as JSON writes them; both at most kLargestBound in
/// magnitude, low ≤ high.
ExprId IntegersBetween(GrammarBuilder& builder, int64_t low, int64_t high);
/// Numbers between the bounds, with a fraction or without, each exact to fifteen digits. Bounds as
/// above.
ExprId NumbersBetween(GrammarBuilder& builder, const NumberBounds& bounds);

}  // namespace octet
