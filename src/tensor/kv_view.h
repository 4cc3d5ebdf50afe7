// Keys and values of one sequence in one layer, wherever they lie: attention reads them only
// through this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/format.h"

namespace octet {

/// Page p holds tokens [p·page_tokens, (p+1)·page_tokens); a token's row is kv_dim values in
/// `format`, heads one after another.
struct KvView {
  std::span<std::byte*const> k_pages, v_pages;
  int32_t page_tokens = 0;
  int32_t kv_dim = 0;
  Format format = Format::kF16;
};

}  // namespace octet
