#include "engine/page_manager.h"

#include <algorithm>

namespace octet {

PageManager::PageManager(KvCache cache, bool keep_prefixes)
    : cache_(std::move(cache)), page_tokens_(cache_.options().page_tokens) {
  if (keep_prefixes) prefixes_.emplace(cache_.options().page_tokens);
}

int64_t PageManager::OpenSession() {
  sessions_.emplace(next_session_, Session{});
  return next_session_++;
}

void PageManager::CloseSession(int64_t session) {
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return;
  Drop(found->second);
  sessions_.erase(found);
}

void PageManager::Drop(Session& session) {
  if (session.kv >= 0) cache_.RemoveSequence(session.kv);
  session.kv = -1;
  session.tokens.clear();
}

bool PageManager::GiveUpSomething(int32_t kv) {
  if (prefixes_) {
    if (const std::optional<int32_t> page = prefixes_->Evict()) {
      cache_.ReleasePage(*page);
      return true;
    }
  }
  Session* oldest = nullptr;
  for (auto& [id, session] : sessions_) {
    if (session.kv < 0 || session.kv == kv) continue;
    if (oldest == nullptr || session.last_use < oldest->last_use) oldest = &session;
  }
  if (oldest == nullptr) return false;
  Drop(*oldest);
  return true;
}

bool PageManager::Reserve(int32_t kv, int64_t n_tokens) {
  while (cache_.MissingPages(kv, n_tokens) > cache_.free_pages()) {
    if (!GiveUpSomething(kv)) return false;
  }
  return cache_.Reserve(kv, n_tokens).has_value();
}

std::span<const int32_t> PageManager::PageTokens(const Sequence& sequence, int64_t page) const {
  return std::span(sequence.tokens)
      .subspan(static_cast<size_t>(page * page_tokens_), static_cast<size_t>(page_tokens_));
}

bool PageManager::ShareNext(Sequence& s, int64_t end) {
  const int64_t next = s.shared_pages;
  if ((next + 1) * page_tokens_ > end) return false;
  const auto at = static_cast<size_t>(next);
  const uint64_t before = next == 0 ? s.prefix_root : s.page_hash[at - 1];
  const auto page = prefixes_->Acquire(before, s.page_hash[at], PageTokens(s, next));
  if (!page) return false;
  cache_.SharePage(s.kv, next, *page);
  ++s.shared_pages;
  s.computed = s.shared_pages * page_tokens_;
  return true;
}

void PageManager::CopyBeginning(Sequence& s) {
  // The last token is always computed: its logits choose the next.
  const int64_t left = s.length() - 1 - s.computed;
  // A longer rest has whole pages to find, or to wait for while others compute them.
  if (left <= 0 || left >= page_tokens_) return;
  const auto at = static_cast<size_t>(s.shared_pages);
  const uint64_t before = at == 0 ? s.prefix_root : s.page_hash[at - 1];
  const auto rest =
      std::span(s.tokens).subspan(static_cast<size_t>(s.computed), static_cast<size_t>(left));
  const auto beginning = prefixes_->LongestBeginning(before, rest);
  if (!beginning) return;
  cache_.CopyTokens(beginning->page, cache_.PageOf(s.kv, s.shared_pages), beginning->tokens);
  s.computed += beginning->tokens;
}

void PageManager::ReleaseShared(Sequence& s) {
  while (s.shared_pages > 0) prefixes_->Release(s.page_hash[static_cast<size_t>(--s.shared_pages)]);
}

void PageManager::SkipComputed(Sequence& s) {
  if (!UsesPrefixes(s) || s.computed != s.shared_pages * page_tokens_) return;
  const int64_t before = s.computed;
  while (ShareNext(s, s.length() - 1)) {
  }
  if (s.answered() == 0 && !s.preempted) s.cached_tokens += s.computed - before;
}

void PageManager::Publish(Sequence& s) {
  if (!UsesPrefixes(s)) return;
  while ((s.shared_pages + 1) * page_tokens_ <= s.computed) {
    const int64_t next = s.shared_pages;
    prefixes_->HashPages(s.tokens, s.page_hash, s.prefix_root);
    const int64_t computed = s.computed;
    // The same page may have been computed twice; the bits are the same, so one is enough.
    const bool shared = ShareNext(s, s.computed);
    s.computed = computed;
    if (shared) continue;
    const auto at = static_cast<size_t>(next);
    const int32_t page = cache_.PageOf(s.kv, next);
    const uint64_t before = next == 0 ? s.prefix_root : s.page_hash[at - 1];
    if (!prefixes_->Insert(before, s.page_hash[at], PageTokens(s, next), page)) return;
    cache_.HoldPage(page);
    ++s.shared_pages;
  }
}

bool PageManager::AdmitByPrefix(Sequence& s, int64_t spare) {
  s.kv = cache_.AddSequence();
  prefixes_->HashPages(s.tokens, s.page_hash, s.prefix_root);
  // The last token is always computed: its logits choose the next.
  while (ShareNext(s, s.length() - 1)) {
  }
  const int64_t missing = cache_.MissingPages(s.kv, s.length());
  const bool room = missing + spare <= free_pages() + unused_prefix_pages();
  if (!(room || spare == 0) || !Reserve(s.kv, s.length())) {
    ReleaseShared(s);
    cache_.RemoveSequence(s.kv);
    s.kv = -1;
    s.computed = 0;
    return false;
  }
  CopyBeginning(s);
  if (s.answered() == 0 && !s.preempted) s.cached_tokens = s.computed;
  return true;
}

Result<int64_t> PageManager::SavePrefixes(const std::filesystem::path& path,
                                          const PrefixFileHeader& header) {
  if (prefixes_) return WritePrefixFile(path, header, *prefixes_, cache_);
  return Err(ErrorCode::kInvalidArgument, "there are no prefixes to save: none are kept");
}

Result<int64_t> PageManager::LoadPrefixes(const std::filesystem::path& path,
                                          const PrefixFileHeader& header,
                                          std::span<const uint64_t> roots) {
  if (prefixes_) return ReadPrefixFile(path, {header, roots}, *prefixes_, cache_);
  return Err(ErrorCode::kInvalidArgument, "{} is of no use: no prefixes are kept", path.string());
}

std::vector<uint64_t> PageManager::PrefixHashes() const {
  std::vector<uint64_t> hashes;
  if (!prefixes_) return hashes;
  for (const PrefixCache::Page& page : prefixes_->Pages()) hashes.push_back(page.hash);
  return hashes;
}

std::vector<PrefixRecord> PageManager::CopyPrefixes(std::span<const uint64_t> hashes) {
  std::vector<PrefixRecord> records;
  for (const uint64_t hash : hashes) {
    if (const auto page = prefixes_->Find(hash)) records.push_back(CopyPrefix(*page, cache_));
  }
  return records;
}

void PageManager::ForgetPrefixes() {
  if (!prefixes_) return;
  while (const std::optional<int32_t> page = prefixes_->Evict()) cache_.ReleasePage(*page);
}

bool PageManager::Admit(Sequence& sequence, int64_t spare) {
  if (UsesPrefixes(sequence)) return AdmitByPrefix(sequence, spare);
  const auto found = sessions_.find(sequence.request.session);
  Session* session = found == sessions_.end() ? nullptr : &found->second;
  int64_t common = 0;
  if (session != nullptr && session->kv >= 0) {
    // The last token is always computed: its logits choose the next.
    const int64_t most =
        std::min(static_cast<int64_t>(session->tokens.size()), sequence.length() - 1);
    while (common < most && session->tokens[common] == sequence.tokens[common]) ++common;
    cache_.Truncate(session->kv, common);
    session->tokens.resize(static_cast<size_t>(common));
  }
  const bool reuse = common > 0;
  const int32_t kv = reuse ? session->kv : cache_.AddSequence();
  if (!Reserve(kv, sequence.length())) {
    if (!reuse) cache_.RemoveSequence(kv);
    return false;
  }
  if (session != nullptr) {
    if (!reuse) Drop(*session);
    session->kv = -1;  // the sequence has it
    session->tokens.clear();
  }
  sequence.kv = kv;
  sequence.computed = common;
  if (sequence.answered() == 0) sequence.cached_tokens = common;
  return true;
}

bool PageManager::Grow(Sequence& sequence) { return Reserve(sequence.kv, sequence.computed + 1); }

bool PageManager::GrowIfFree(Sequence& sequence, int64_t n_tokens) {
  return cache_.Reserve(sequence.kv, n_tokens).has_value();
}

void PageManager::Retire(Sequence& sequence) {
  if (sequence.kv < 0) return;
  const auto found = sessions_.find(sequence.request.session);
  if (found == sessions_.end()) {
    Publish(sequence);
    ReleaseShared(sequence);
    cache_.RemoveSequence(sequence.kv);
  } else {
    Session& session = found->second;
    cache_.Truncate(sequence.kv, sequence.computed);
    session.kv = sequence.kv;
    session.tokens.assign(sequence.tokens.begin(), sequence.tokens.begin() + sequence.computed);
    session.last_use = ++clock_;
  }
  sequence.kv = -1;
}

void PageManager::Evict(Sequence& sequence) {
  ReleaseShared(sequence);
  cache_.RemoveSequence(sequence.kv);
  sequence.kv = -1;
  sequence.computed = 0;
}

}  // namespace octet
