// Who holds pages of the KV cache: running sequences, and idle sessions that may lose theirs.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "engine/sequence.h"
#include "model/kv_cache.h"

namespace octet {

class PageManager {
 public:
  explicit PageManager(KvCache cache) : cache_(std::move(cache)) {}

  KvSource& source() { return cache_; }
  int64_t free_pages() const { return cache_.free_pages(); }
  int64_t n_pages() const { return cache_.n_pages(); }

  int64_t OpenSession();
  void CloseSession(int64_t session);
  bool HasSession(int64_t session) const { return sessions_.contains(session); }

  /// Gives a waiting sequence a place in the cache with room for all its tokens: what its session
  /// holds of the same beginning is kept and counts as computed. False when pages are missing, even
  /// without the idle sessions'; then nothing changed for the sequence.
  bool Admit(Sequence& sequence);
  /// Room for one more token; idle sessions give way. False when there is none.
  bool Grow(Sequence& sequence);
  /// Room for `n_tokens` in all if pages are free: nothing else gives way.
  bool GrowIfFree(Sequence& sequence, int64_t n_tokens);
  /// Forgets what was computed past sequence.computed, and frees its pages.
  void RollBack(Sequence& sequence) { cache_.Truncate(sequence.kv, sequence.computed); }
  /// The sequence is over: its pages go to its session, or are freed.
  void Retire(Sequence& sequence);
  /// The sequence waits again: its pages are freed and its tokens will be computed anew.
  void Evict(Sequence& sequence);

 private:
  struct Session {
    int32_t kv = -1;  // -1: nothing cached, or a running sequence has it
    std::vector<int32_t> tokens;
    uint64_t last_use = 0;
  };
  /// Reserves, taking pages from idle sessions, the longest unused first.
  bool Reserve(int32_t kv, int64_t n_tokens);
  void Drop(Session& session);

  KvCache cache_;
  std::map<int64_t, Session> sessions_;
  int64_t next_session_ = 1;
  uint64_t clock_ = 0;
};

}  // namespace octet
