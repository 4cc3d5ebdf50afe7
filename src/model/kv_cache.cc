#include "model/kv_cache.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace octet {

int64_t KvCache::BytesPerToken(const ModelConfig& config, Format format) {
  return 2 * config.n_layers * FormatBytes(format, config.kv_dim());
}

Result<KvCache> KvCache::Create(const ModelConfig& config, const KvCacheOptions& options) {
  const FormatInfo& info = Info(options.format);
  if (options.format != Format::kF32 && options.format != Format::kF16 &&
      options.format != Format::kBf16 && options.format != Format::kQ8_0) {
    return Err(ErrorCode::kInvalidArgument, "KV cache type {}: expected f32, f16, bf16 or q8_0",
               info.name);
  }
  if (config.head_dim % info.block_values != 0) {
    return Err(ErrorCode::kInvalidArgument,
               "KV cache type {} packs {} values a block, this model's heads have {}; use f16, "
               "bf16 or f32",
               info.name, info.block_values, config.head_dim);
  }
  if (options.page_tokens < 1 || options.n_pages < 1) {
    return Err(ErrorCode::kInvalidArgument,
               "KV cache: expected at least one page of one token, got {} of {}", options.n_pages,
               options.page_tokens);
  }
  KvCache cache;
  cache.options_ = options;
  cache.n_layers_ = static_cast<int32_t>(config.n_layers);
  cache.n_kv_heads_ = static_cast<int32_t>(config.n_kv_heads);
  cache.head_dim_ = static_cast<int32_t>(config.head_dim);
  cache.half_bytes_ = options.page_tokens * FormatBytes(options.format, config.kv_dim());
  const auto bytes =
      static_cast<uint64_t>(cache.half_bytes_) * 2 * static_cast<uint64_t>(config.n_layers);
  if (static_cast<uint64_t>(options.n_pages) > (uint64_t{1} << 46) / bytes) {
    return Err(
        ErrorCode::kOutOfMemory,
        "KV cache: {} pages of {} bytes are more than any machine has; use a smaller context",
        options.n_pages, bytes);
  }
  OCTET_ASSIGN(cache.memory_,
               Buffer::Allocate(bytes * static_cast<uint64_t>(options.n_pages), "KV cache"));
  cache.free_.resize(static_cast<size_t>(options.n_pages));
  cache.holders_.resize(static_cast<size_t>(options.n_pages));
  // Taken from the back, so that the lowest pages are used first and untouched memory stays
  // untouched.
  for (int64_t i = 0; i < options.n_pages; ++i) {
    cache.free_[static_cast<size_t>(i)] = static_cast<int32_t>(options.n_pages - 1 - i);
  }
  return cache;
}

int32_t KvCache::AddSequence() {
  const auto unused = std::find_if(sequences_.begin(), sequences_.end(),
                                   [](const Sequence& s) { return !s.in_use; });
  const auto id = static_cast<int32_t>(unused - sequences_.begin());
  if (unused == sequences_.end()) sequences_.emplace_back();
  sequences_[static_cast<size_t>(id)].in_use = true;
  return id;
}

void KvCache::RemoveSequence(int32_t sequence) {
  Truncate(sequence, 0);
  sequences_[static_cast<size_t>(sequence)].in_use = false;
}

Status KvCache::Reserve(int32_t sequence, int64_t n_tokens) {
  Sequence& s = sequences_[static_cast<size_t>(sequence)];
  CHECK(s.in_use);
  const int64_t missing = MissingPages(sequence, n_tokens);
  if (missing <= 0) return {};
  if (missing > free_pages()) {
    return Err(ErrorCode::kOutOfMemory,
               "KV cache: {} tokens need {} more pages of {} tokens, {} of {} are free", n_tokens,
               missing, options_.page_tokens, free_pages(), options_.n_pages);
  }
  for (int64_t i = 0; i < missing; ++i) {
    s.pages.push_back(free_.back());
    holders_[static_cast<size_t>(free_.back())] = 1;
    free_.pop_back();
  }
  s.stale = true;
  return {};
}

void KvCache::Truncate(int32_t sequence, int64_t n_tokens) {
  Sequence& s = sequences_[static_cast<size_t>(sequence)];
  CHECK(s.in_use);
  const auto keep =
      static_cast<size_t>((n_tokens + options_.page_tokens - 1) / options_.page_tokens);
  if (keep >= s.pages.size()) return;
  while (s.pages.size() > keep) {
    ReleasePage(s.pages.back());
    s.pages.pop_back();
  }
  s.stale = true;
}

int64_t KvCache::MissingPages(int32_t sequence, int64_t n_tokens) const {
  const int64_t needed = (n_tokens + options_.page_tokens - 1) / options_.page_tokens;
  return needed - static_cast<int64_t>(sequences_[static_cast<size_t>(sequence)].pages.size());
}

int32_t KvCache::PageOf(int32_t sequence, int64_t index) const {
  return sequences_[static_cast<size_t>(sequence)].pages[static_cast<size_t>(index)];
}

void KvCache::SharePage(int32_t sequence, int64_t index, int32_t page) {
  Sequence& s = sequences_[static_cast<size_t>(sequence)];
  const auto at = static_cast<size_t>(index);
  CHECK(s.in_use && at <= s.pages.size());
  HoldPage(page);
  if (at == s.pages.size()) {
    s.pages.push_back(page);
  } else {
    ReleasePage(s.pages[at]);
    s.pages[at] = page;
  }
  s.stale = true;
}

void KvCache::HoldPage(int32_t page) {
  CHECK(holders(page) > 0);  // a free page has no content to share
  ++holders_[static_cast<size_t>(page)];
}

void KvCache::ReleasePage(int32_t page) {
  int32_t& holders = holders_[static_cast<size_t>(page)];
  CHECK(holders > 0);
  if (--holders == 0) free_.push_back(page);
}

int32_t KvCache::TakePage() {
  CHECK(!free_.empty());
  const int32_t page = free_.back();
  free_.pop_back();
  holders_[static_cast<size_t>(page)] = 1;
  return page;
}

std::span<std::byte> KvCache::PageBytes(int32_t page) {
  CHECK(holders(page) > 0);
  return {memory_.data() + page * page_bytes(), static_cast<size_t>(page_bytes())};
}

void KvCache::CopyTokens(int32_t from, int32_t to, int64_t n_tokens) {
  CHECK(from != to && n_tokens <= options_.page_tokens);
  const std::span<const std::byte> source = PageBytes(from);
  const std::span<std::byte> target = PageBytes(to);
  // [layer][K then V][head][token] of rows.
  const size_t runs = static_cast<size_t>(n_layers_) * 2 * static_cast<size_t>(n_kv_heads_);
  const size_t run_bytes = source.size() / runs;
  const size_t bytes =
      run_bytes / static_cast<size_t>(options_.page_tokens) * static_cast<size_t>(n_tokens);
  for (size_t run = 0; run < runs; ++run)
    std::memcpy(target.data() + run * run_bytes, source.data() + run * run_bytes, bytes);
}

void KvCache::RebuildPointers(Sequence& s) {
  s.stale = false;
  const size_t n = s.pages.size();
  s.pointers.resize(static_cast<size_t>(n_layers_) * 2 * n);
  for (size_t layer = 0; layer < static_cast<size_t>(n_layers_); ++layer) {
    for (size_t half = 0; half < 2; ++half) {
      for (size_t i = 0; i < n; ++i) {
        const int64_t slot = (int64_t{s.pages[i]} * n_layers_ + static_cast<int64_t>(layer)) * 2 +
                             static_cast<int64_t>(half);
        s.pointers[(layer * 2 + half) * n + i] = memory_.data() + slot * half_bytes_;
      }
    }
  }
}

KvView KvCache::KvOf(int32_t sequence, int32_t layer) {
  Sequence& s = sequences_[static_cast<size_t>(sequence)];
  CHECK(s.in_use);
  if (s.stale) RebuildPointers(s);
  const size_t n = s.pages.size();
  std::byte* const* k = s.pointers.data() + static_cast<size_t>(layer) * 2 * n;
  return {{k, n}, {k + n, n}, options_.page_tokens, n_kv_heads_, head_dim_, options_.format};
}

}  // namespace octet
