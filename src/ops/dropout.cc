#include "ops/dropout.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "ops/rows.h"

namespace octet {

void DropRow(const Dropout& dropout, DropoutSite site, int64_t row, float* x, int64_t n) {
  // Four draws of 16 bits from one random number.
  constexpr int64_t kDraws = 4;
  constexpr int kBits = 16;
  const auto all = static_cast<double>(1 << kBits);
  const auto limit = static_cast<uint64_t>(std::lround(dropout.rate * all));
  const auto scale = static_cast<float>(all / (all - static_cast<double>(limit)));
  const uint64_t stream =
      static_cast<uint64_t>(site.layer) * 2 + static_cast<uint64_t>(site.branch);
  const int64_t draws = (n + kDraws - 1) / kDraws;
  for (int64_t i = 0; i < draws; ++i) {
    uint64_t bits = RandomBits(dropout.seed, stream, static_cast<uint64_t>(row * draws + i));
    for (int64_t j = i * kDraws; j < std::min(n, (i + 1) * kDraws); ++j, bits >>= kBits) {
      const bool kept = (bits & ((1u << kBits) - 1)) >= limit;
      x[j] = kept ? x[j] * scale : 0.0f;
    }
  }
}

void Drop(const Dropout& dropout, DropoutSite site, View<float, 2> x, Context& context) {
  ForEachRow(x.shape[0], x.shape[1], context,
             [&](int64_t t) { DropRow(dropout, site, t, x[t].data, x.shape[1]); });
}

}  // namespace octet
