// Keys and values of past tokens, in pages; read by attention only through KvView.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/result.h"
#include "model/config.h"
#include "quant/format.h"
#include "tensor/kv_view.h"

namespace octet {

/// Where a forward pass puts and finds keys and values.
class KvSource {
 public:
  virtual ~KvSource() = default;
  virtual KvView KvOf(int32_t sequence, int32_t layer) = 0;
};

struct KvCacheOptions {
  Format format = Format::kF16;  // F32, F16, BF16 or Q8_0 (head_dim a multiple of 32)
  int32_t page_tokens = 64;
  int64_t n_pages = 0;  // of all sequences together
};

/// A pool of pages (each page spans all layers) and the page tables of sequences. Several sequences
/// may hold a page they have in common; it is free again when the last one lets go. Nobody writes
/// to a page that others hold: the callers share only pages whose every position is computed.
class KvCache : public KvSource {
 public:
  static Result<KvCache> Create(const ModelConfig& config, const KvCacheOptions& options);

  /// A new, empty sequence.
  int32_t AddSequence();
  /// Frees its pages.
  void RemoveSequence(int32_t sequence);
  /// Makes room for positions [0, n_tokens). kOutOfMemory when the pool has too few pages; then
  /// nothing changed.
  Status Reserve(int32_t sequence, int64_t n_tokens);
  /// Forgets positions ≥ n_tokens and frees the pages past them.
  void Truncate(int32_t sequence, int64_t n_tokens);

  KvView KvOf(int32_t sequence, int32_t layer) override;

  /// The page of a sequence's positions [index·page_tokens, (index + 1)·page_tokens).
  int32_t PageOf(int32_t sequence, int64_t index) const;
  /// Puts `page` at `index` of a sequence's table, in place of the page there or at its end.
  void SharePage(int32_t sequence, int64_t index, int32_t page);
  /// A holder of a page beside the sequences.
  void HoldPage(int32_t page);
  void ReleasePage(int32_t page);
  int32_t holders(int32_t page) const { return holders_[static_cast<size_t>(page)]; }
  /// A free page with one holder; there must be one.
  int32_t TakePage();
  /// Keys and values of the first `n_tokens` positions of a page that somebody holds, to another.
  void CopyTokens(int32_t from, int32_t to, int64_t n_tokens);
  /// Keys and values of all layers in a page that somebody holds.
  std::span<std::byte> PageBytes(int32_t page);
  int64_t page_bytes() const { return half_bytes_ * 2 * n_layers_; }
  /// How many pages Reserve would take.
  int64_t MissingPages(int32_t sequence, int64_t n_tokens) const;

  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }
  int64_t n_pages() const { return options_.n_pages; }
  const KvCacheOptions& options() const { return options_; }
  /// Bytes one token takes over all layers, K and V.
  static int64_t BytesPerToken(const ModelConfig& config, Format format);

 private:
  struct Sequence {
    bool in_use = false;
    std::vector<int32_t> pages;
    std::vector<std::byte*> pointers;  // [layer][K then V][page]
    bool stale = false;                // pages changed since
  };
  void RebuildPointers(Sequence& sequence);

  KvCacheOptions options_;
  int32_t n_layers_ = 0;
  int32_t n_kv_heads_ = 0, head_dim_ = 0;
  int64_t half_bytes_ = 0;  // K (or V) of one layer in one page
  Buffer memory_;
  std::vector<int32_t> free_;
  std::vector<int32_t> holders_;  // [n_pages]; 0: free
  std::vector<Sequence> sequences_;
};

}  // namespace octet
