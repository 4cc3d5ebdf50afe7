// Keys and values of one sequence in one layer, wherever they lie: attention reads them only
// through this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/format.h"

namespace octet {

/// Page p holds tokens [p·page_tokens, (p+1)·page_tokens), head by head: [n_kv_heads, page_tokens,
/// head_dim] values in `format`, so that a query head streams memory in order.
struct KvView {
  std::span<std::byte*const> k_pages, v_pages;
  int32_t page_tokens = 0;
  int32_t n_kv_heads = 0;
  int32_t head_dim = 0;
  Format format = Format::kF16;

  int64_t row_bytes() const { return FormatBytes(format, head_dim); }
  /// Where the row of `position` and `head` begins in its page.
  int64_t Offset(int64_t position, int64_t head) const {
    return (head * page_tokens + position % page_tokens) * row_bytes();
  }
};

}  // namespace octet
