#include "engine/prefix_cache.h"

#include <algorithm>

#include "base/check.h"
#include "base/rng.h"

namespace octet {

uint64_t PrefixCache::Hash(uint64_t before, std::span<const int32_t> page) {
  uint64_t hash = before;
  for (const int32_t id : page) hash = RandomBits(hash, 0, static_cast<uint32_t>(id));
  hash &= ~kRootBit;
  return hash == 0 ? 1 : hash;  // 0 is a root too
}

void PrefixCache::HashPages(std::span<const int32_t> tokens, std::vector<uint64_t>& hashes,
                            uint64_t root) const {
  const auto size = static_cast<size_t>(page_tokens_);
  while ((hashes.size() + 1) * size <= tokens.size()) {
    hashes.push_back(
        Hash(hashes.empty() ? root : hashes.back(), tokens.subspan(hashes.size() * size, size)));
  }
}

std::optional<int32_t> PrefixCache::Acquire(uint64_t before, uint64_t hash,
                                            std::span<const int32_t> tokens) {
  const auto found = entries_.find(hash);
  if (found == entries_.end()) return std::nullopt;
  Entry& entry = found->second;
  if (entry.before != before || !std::ranges::equal(entry.tokens, tokens)) return std::nullopt;
  if (entry.users++ == 0) unused_.erase(entry.place);
  return entry.page;
}

std::optional<PrefixCache::Beginning> PrefixCache::LongestBeginning(
    uint64_t before, std::span<const int32_t> tokens) {
  const auto found = after_.find(before);
  if (found == after_.end()) return std::nullopt;
  Entry* best = nullptr;
  uint64_t best_hash = 0;
  int64_t most = 0;
  size_t compared = 0;
  for (auto hash = found->second.rbegin(); hash != found->second.rend() && compared < kMostCompared;
       ++hash, ++compared) {
    Entry& entry = entries_.at(*hash);
    const auto end = std::ranges::mismatch(entry.tokens, tokens).in1;
    const int64_t common = end - entry.tokens.begin();
    if (common <= most) continue;
    most = common;
    best = &entry;
    best_hash = *hash;
  }
  if (best == nullptr) return std::nullopt;
  if (best->users == 0) {
    unused_.erase(best->place);
    best->place = unused_.insert(unused_.end(), best_hash);
  }
  return Beginning{best->page, most};
}

bool PrefixCache::Insert(uint64_t before, uint64_t hash, std::span<const int32_t> tokens,
                         int32_t page) {
  const auto [place, is_new] = entries_.try_emplace(hash);
  if (!is_new) return false;
  ++inserted_;
  place->second = {before, {tokens.begin(), tokens.end()}, page, 1, unused_.end()};
  after_[before].push_back(hash);
  return true;
}

void PrefixCache::Release(uint64_t hash) {
  const auto found = entries_.find(hash);
  CHECK(found != entries_.end() && found->second.users > 0);
  Entry& entry = found->second;
  if (--entry.users == 0) entry.place = unused_.insert(unused_.end(), hash);
}

std::optional<PrefixCache::Page> PrefixCache::Find(uint64_t hash) const {
  const auto found = entries_.find(hash);
  if (found == entries_.end()) return std::nullopt;
  const Entry& entry = found->second;
  return Page{entry.before, hash, entry.tokens, entry.page};
}

std::vector<PrefixCache::Page> PrefixCache::Pages() const {
  std::vector<Page> pages;
  std::vector<std::pair<int64_t, Page>> in_use;  // with how many are before them
  const auto page = [](uint64_t hash, const Entry& e) {
    return Page{e.before, hash, e.tokens, e.page};
  };
  for (const auto& [hash, entry] : entries_) {
    if (entry.users == 0) continue;
    int64_t depth = 0;
    for (auto at = entries_.find(entry.before); at != entries_.end();
         at = entries_.find(at->second.before)) {
      ++depth;
    }
    in_use.emplace_back(depth, page(hash, entry));
  }
  std::ranges::sort(in_use, {}, [](const auto& p) { return std::pair(p.first, p.second.hash); });
  for (const auto& [depth, p] : in_use) pages.push_back(p);
  for (auto hash = unused_.rbegin(); hash != unused_.rend(); ++hash) {
    pages.push_back(page(*hash, entries_.at(*hash)));
  }
  return pages;
}

std::optional<int32_t> PrefixCache::Evict() {
  if (unused_.empty()) return std::nullopt;
  const auto found = entries_.find(unused_.front());
  const int32_t page = found->second.page;
  const auto siblings = after_.find(found->second.before);
  std::erase(siblings->second, found->first);
  if (siblings->second.empty()) after_.erase(siblings);
  unused_.pop_front();
  entries_.erase(found);
  return page;
}

}  // namespace octet
