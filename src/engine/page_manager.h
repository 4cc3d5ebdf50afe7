// Who holds pages of the KV cache: running sequences, the beginnings of texts that may come again,
// and idle sessions. The last two give way to the first.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "engine/prefix_cache.h"
#include "engine/prefix_file.h"
#include "engine/sequence.h"
#include "model/kv_cache.h"

namespace octet {

class PageManager {
 public:
  /// `keep_prefixes`: full pages of requests without a session are found again by their text.
  PageManager(KvCache cache, bool keep_prefixes);

  KvSource& source() { return cache_; }
  int64_t free_pages() const { return cache_.free_pages(); }
  int64_t n_pages() const { return cache_.n_pages(); }
  int64_t prefix_pages() const { return prefixes_ ? prefixes_->pages() : 0; }
  int64_t prefixes_kept() const { return prefixes_ ? prefixes_->inserted() : 0; }
  int64_t unused_prefix_pages() const { return prefixes_ ? prefixes_->unused() : 0; }

  int64_t OpenSession();
  void CloseSession(int64_t session);
  bool HasSession(int64_t session) const { return sessions_.contains(session); }

  /// Gives a waiting sequence a place in the cache with room for all its tokens, and leaves `spare`
  /// pages that are free or would give way: what its session or the prefix cache holds of the same
  /// beginning is kept and counts as computed. False when pages are missing; then nothing changed
  /// for the sequence.
  bool Admit(Sequence& sequence, int64_t spare);
  /// Room for one more token; what is idle gives way. False when there is none.
  bool Grow(Sequence& sequence);
  /// Room for `n_tokens` in all if pages are free: nothing else gives way.
  bool GrowIfFree(Sequence& sequence, int64_t n_tokens);
  /// Skips pages of a prompt that others have computed meanwhile.
  void SkipComputed(Sequence& sequence);
  /// Lets others find the pages that are computed and full by now.
  void Publish(Sequence& sequence);
  /// Forgets what was computed past sequence.computed, and frees its pages.
  void RollBack(Sequence& sequence) { cache_.Truncate(sequence.kv, sequence.computed); }
  /// The sequence is over: its pages go to its session or the prefix cache, or are freed.
  void Retire(Sequence& sequence);
  /// The sequence waits again: its tokens will be computed anew, as far as the prefix cache cannot
  /// keep them.
  void Evict(Sequence& sequence);
  /// engine/prefix_file.h; kInvalidArgument where beginnings are not kept.
  Result<int64_t> SavePrefixes(const std::filesystem::path& path, const PrefixFileHeader& header);
  Result<int64_t> LoadPrefixes(const std::filesystem::path& path, const PrefixFileHeader& header,
                               std::span<const uint64_t> roots);
  /// The same file in parts, while pages come and go: which there are, in the file's order, and
  /// copies of those of `hashes` that are still there. A page goes only after those that follow it.
  std::vector<uint64_t> PrefixHashes() const;
  std::vector<PrefixRecord> CopyPrefixes(std::span<const uint64_t> hashes);
  int64_t page_bytes() const { return cache_.page_bytes(); }
  /// Gives up all beginnings that no running sequence uses.
  void ForgetPrefixes();

 private:
  struct Session {
    int32_t kv = -1;  // -1: nothing cached, or a running sequence has it
    std::vector<int32_t> tokens;
    uint64_t last_use = 0;
  };
  bool UsesPrefixes(const Sequence& sequence) const {
    return prefixes_.has_value() && sequence.request.session == 0 &&
           sequence.request.trace != RoutingTrace::kPrompt && !sequence.request.experts.any() &&
           sequence.request.prompt_logprobs < 0;
  }
  std::span<const int32_t> PageTokens(const Sequence& sequence, int64_t page) const;
  /// Shares the next page of the sequence's beginning, if it is in the cache. `end`: tokens past
  /// this are not wanted.
  bool ShareNext(Sequence& sequence, int64_t end);
  /// Copies what a page in the cache has of the rest of a prompt that ends within its next page.
  void CopyBeginning(Sequence& sequence);
  void ReleaseShared(Sequence& sequence);
  bool AdmitByPrefix(Sequence& sequence, int64_t spare);
  /// Reserves, taking pages from beginnings and idle sessions, the longest unused first.
  bool Reserve(int32_t kv, int64_t n_tokens);
  bool GiveUpSomething(int32_t kv);
  void Drop(Session& session);

  KvCache cache_;
  int64_t page_tokens_;
  std::optional<PrefixCache> prefixes_;
  std::map<int64_t, Session> sessions_;
  int64_t next_session_ = 1;
  uint64_t clock_ = 0;
};

}  // namespace octet
