// Panels of a tile product's operand, asked for before they are read.
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

constexpr int64_t kLineValues = 32, kTileLines = kTileValues / kLineValues;

/// Two panels of a cut that are wanted soon, fetched a few lines at a time.
class Ahead {
 public:
  /// `panels` is null where nothing comes; `steps`: how often Next is called.
  Ahead(const uint16_t* panels, int64_t panel_values, int64_t tiles, int64_t steps)
      : at_(panels),
        second_(panels == nullptr ? nullptr : panels + panel_values),
        left_(panels == nullptr ? 0 : 2 * tiles * kTileLines),
        first_(tiles * kTileLines),
        each_((left_ + steps - 1) / steps) {}

  void Next() {
    for (int64_t i = 0; i < each_ && left_ > 0; ++i, --left_, at_ += kLineValues) {
      if (left_ == first_) at_ = second_;
      _mm_prefetch(at_, _MM_HINT_T1);
    }
  }

 private:
  const uint16_t *at_, *second_;
  int64_t left_, first_, each_;
};

}  // namespace
}  // namespace octet
