// Pages of keys and values that begin some text, found again by the text.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace octet {

/// Full pages of tokens by a hash of their tokens and of all tokens before them, so that one lookup
/// a page finds the longest beginning of a text that is computed already. A hit is compared token
/// by token: hashes only find, and texts made to collide gain nothing. Entries that no sequence
/// uses are given up longest unused first, and the end of a text before its beginning.
class PrefixCache {
 public:
  explicit PrefixCache(int32_t page_tokens) : page_tokens_(page_tokens) {}

  /// What stands before a text's first page: 0, or Root of whatever else than the text decides its
  /// keys and values (an adapter's fingerprint). Equal to no page's hash.
  static uint64_t Root(uint64_t fingerprint) { return fingerprint | kRootBit; }
  /// The hash of a page; `before` is that of the page before it, or the text's root.
  static uint64_t Hash(uint64_t before, std::span<const int32_t> page);
  /// Extends `hashes` to all full pages of `tokens`.
  void HashPages(std::span<const int32_t> tokens, std::vector<uint64_t>& hashes,
                 uint64_t root = 0) const;

  /// The page that holds these tokens after those of `before`, and from now on has one user more.
  std::optional<int32_t> Acquire(uint64_t before, uint64_t hash, std::span<const int32_t> tokens);
  /// The page after those of `before` that begins with most of `tokens`; counts as used just now.
  struct Beginning {
    int32_t page;
    int64_t tokens;  // in common, at least 1
  };
  std::optional<Beginning> LongestBeginning(uint64_t before, std::span<const int32_t> tokens);
  /// Adds a page with one user. The page of `before` is in the cache and in use, or `before` is a
  /// root.
  /// False when another text has the same hash; then nothing changed.
  bool Insert(uint64_t before, uint64_t hash, std::span<const int32_t> tokens, int32_t page);
  /// One user less. A text's pages are released from its end.
  void Release(uint64_t hash);
  /// Takes out the page that was unused the longest; none when all are in use.
  std::optional<int32_t> Evict();

  bool Has(uint64_t hash) const { return entries_.contains(hash); }
  struct Page {
    uint64_t before, hash;
    std::span<const int32_t> tokens;  // valid until the cache changes
    int32_t page;
  };
  /// All of them, each after the one before it in its text; those in use, then the last used first.
  std::vector<Page> Pages() const;
  /// The one of this hash.
  std::optional<Page> Find(uint64_t hash) const;

  int64_t pages() const { return static_cast<int64_t>(entries_.size()); }
  int64_t inserted() const { return inserted_; }  // pages, all that there ever were
  int64_t unused() const { return static_cast<int64_t>(unused_.size()); }

 private:
  struct Entry {
    uint64_t before = 0;
    std::vector<int32_t> tokens;
    int32_t page = -1;
    int32_t users = 0;
    std::list<uint64_t>::iterator place;  // in unused_, while users is 0
  };

  static constexpr uint64_t kRootBit = uint64_t{1} << 63;
  /// Pages that are compared in search of a common beginning, the newest first: many answers may
  /// follow one question.
  static constexpr size_t kMostCompared = 256;

  int32_t page_tokens_;
  int64_t inserted_ = 0;
  std::unordered_map<uint64_t, Entry> entries_;
  std::unordered_map<uint64_t, std::vector<uint64_t>> after_;  // by `before`; the newest last
  // A page is released after those that follow it, so it is always younger than they are, and the
  // oldest has none that follow.
  std::list<uint64_t> unused_;  // oldest first
};

}  // namespace octet
