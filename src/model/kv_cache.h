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

/// A pool of pages (each page spans all layers) and the page tables of sequences.
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

  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }
  int64_t n_pages() const { return options_.n_pages; }
  const KvCacheOptions& options() const { return options_; }
  /// Bytes one token takes over all layers, K and V.
  static int64_t BytesPerToken(const ModelConfig& config, Format format);

 private:
  struct Sequence {
    bool in_use = false;
    std::vector<int32_t> pages;
    std::vector<std::byte*> pointers;  // [layer][K then V][page], rebuilt when pages change
  };
  void RebuildPointers(Sequence& sequence);

  KvCacheOptions options_;
  int32_t n_layers_ = 0;
  int32_t n_kv_heads_ = 0, head_dim_ = 0;
  int64_t half_bytes_ = 0;  // K (or V) of one layer in one page
  Buffer memory_;
  std::vector<int32_t> free_;
  std::vector<Sequence> sequences_;
};

}  // namespace octet
