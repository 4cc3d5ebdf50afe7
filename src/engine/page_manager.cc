#include "engine/page_manager.h"

#include <algorithm>

namespace octet {

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

bool PageManager::Reserve(int32_t kv, int64_t n_tokens) {
  while (!cache_.Reserve(kv, n_tokens)) {
    Session* oldest = nullptr;
    for (auto& [id, session] : sessions_) {
      if (session.kv < 0 || session.kv == kv) continue;
      if (oldest == nullptr || session.last_use < oldest->last_use) oldest = &session;
    }
    if (oldest == nullptr) return false;
    Drop(*oldest);
  }
  return true;
}

bool PageManager::Admit(Sequence& sequence) {
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
  cache_.RemoveSequence(sequence.kv);
  sequence.kv = -1;
  sequence.computed = 0;
}

}  // namespace octet
