#include "text/merge_tokenizer.h"

#include <algorithm>
#include <map>
#include <queue>
#include <string>
#include <unordered_map>
#include <utility>

#include "text/utf8.h"
#include "text/vocabulary.h"
#include "text/vocabulary_tokenizer.h"

namespace octet {
namespace {

using PieceIds = std::unordered_map<std::string_view, int32_t>;

uint64_t PairKey(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

/// The pieces that plain text can become; views into the vocabulary.
PieceIds TextPieces(const Vocabulary& vocabulary, TokenKind kind) {
  PieceIds ids;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const Vocabulary::Token& token = vocabulary.tokens[id];
    if (token.kind == kind) ids.emplace(token.piece, static_cast<int32_t>(id));
  }
  return ids;
}

class MergeTokenizer final : public VocabularyTokenizer {
 public:
  MergeTokenizer(Vocabulary vocabulary, const std::vector<Merge>& merges)
      : VocabularyTokenizer(std::move(vocabulary)) {
    const Vocabulary& own = this->vocabulary();
    pieces_ = TextPieces(own, TokenKind::kNormal);
    if (const auto bytes = ByteTokens(own)) bytes_ = *bytes;
    for (size_t id = 0; id < own.tokens.size(); ++id) {
      const Vocabulary::Token& token = own.tokens[id];
      if (token.kind != TokenKind::kUserDefined || token.piece.empty()) continue;
      std::string piece = WithSpaceSymbols(token.piece);
      longest_user_piece_ = std::max(longest_user_piece_, piece.size());
      user_pieces_.emplace(std::move(piece), static_cast<int32_t>(id));
    }
    for (size_t rank = 0; rank < merges.size(); ++rank) {
      const Merge& merge = merges[rank];
      merges_.try_emplace(PairKey(merge.left, merge.right),
                          Rule{static_cast<int32_t>(rank), merge.merged});
    }
  }

  std::vector<int32_t> Encode(std::string_view text) const override {
    if (text.empty()) return {};
    std::string spaced = vocabulary().add_dummy_prefix ? std::string(kSpaceSymbol) : std::string();
    spaced += WithSpaceSymbols(text);
    std::vector<Symbol> symbols = Split(spaced);
    MergeAll(symbols);
    std::vector<int32_t> ids;
    for (int32_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[i].next) {
      const int32_t id = symbols[i].id;
      // A run of unknown characters is one <unk>, as in SentencePiece.
      const bool repeated_unk = id == vocabulary().unk && !ids.empty() && ids.back() == id;
      if (id >= 0 && !repeated_unk) ids.push_back(id);
    }
    return ids;
  }

 private:
  struct Rule {
    int32_t rank = 0, merged = 0;
  };
  struct Symbol {
    int32_t id = 0, prev = -1, next = -1;
    bool frozen = false;  // a user-defined token: never merged
  };
  /// A pair waiting to be merged; stale once either symbol has changed.
  struct Candidate {
    int32_t rank = 0, left = 0, left_id = 0, right_id = 0, merged = 0;
    bool operator>(const Candidate& other) const {
      return std::pair(rank, left) > std::pair(other.rank, other.left);
    }
  };
  using Agenda = std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>>;

  /// The longest user-defined token at the start of `text`: its id and length, or -1.
  std::pair<int32_t, size_t> UserPiece(std::string_view text) const {
    for (size_t n = std::min(longest_user_piece_, text.size()); n > 0; --n) {
      const auto found = user_pieces_.find(text.substr(0, n));
      if (found != user_pieces_.end()) return {found->second, n};
    }
    return {-1, 0};
  }

  std::vector<Symbol> Split(std::string_view text) const {
    std::vector<Symbol> symbols;
    auto add = [&symbols](int32_t id, bool frozen) {
      const auto at = static_cast<int32_t>(symbols.size());
      if (at > 0) symbols.back().next = at;
      symbols.push_back({id, at - 1, -1, frozen});
    };
    while (!text.empty()) {
      const auto [user_id, user_length] = UserPiece(text);
      if (user_id >= 0) {
        add(user_id, true);
        text.remove_prefix(user_length);
        continue;
      }
      const size_t n = std::max<size_t>(Utf8Length(text), 1);
      const auto found = pieces_.find(text.substr(0, n));
      if (found != pieces_.end()) {
        add(found->second, false);
      } else if (!bytes_.empty()) {
        for (const char byte : text.substr(0, n)) add(bytes_[static_cast<uint8_t>(byte)], false);
      } else {
        add(vocabulary().unk, false);
      }
      text.remove_prefix(n);
    }
    return symbols;
  }

  void Propose(const std::vector<Symbol>& symbols, int32_t left, Agenda& agenda) const {
    if (left < 0 || symbols[left].next < 0) return;
    const Symbol& a = symbols[left];
    const Symbol& b = symbols[a.next];
    if (a.frozen || b.frozen) return;
    const auto rule = merges_.find(PairKey(a.id, b.id));
    if (rule == merges_.end()) return;
    agenda.push({rule->second.rank, left, a.id, b.id, rule->second.merged});
  }

  void MergeAll(std::vector<Symbol>& symbols) const {
    constexpr int32_t kGone = -2;  // swallowed by the symbol to its left
    Agenda agenda;
    for (size_t i = 0; i < symbols.size(); ++i) Propose(symbols, static_cast<int32_t>(i), agenda);
    while (!agenda.empty()) {
      const Candidate best = agenda.top();
      agenda.pop();
      Symbol& left = symbols[best.left];
      if (left.id != best.left_id || left.next < 0) continue;
      Symbol& right = symbols[left.next];
      if (right.id != best.right_id) continue;
      left.id = best.merged;
      right.id = kGone;
      left.next = right.next;
      if (left.next >= 0) symbols[left.next].prev = best.left;
      Propose(symbols, left.prev, agenda);
      Propose(symbols, best.left, agenda);
    }
  }

  PieceIds pieces_;
  std::vector<int32_t> bytes_;  // [256], or empty without byte fallback
  std::map<std::string, int32_t, std::less<>> user_pieces_;
  size_t longest_user_piece_ = 0;
  std::unordered_map<uint64_t, Rule> merges_;
};

}  // namespace

bool ScoresCanExpress(const Vocabulary& vocabulary, const std::vector<Merge>& merges) {
  const PieceIds pieces = TextPieces(vocabulary, TokenKind::kNormal);
  std::unordered_map<uint64_t, int32_t> listed;
  std::vector<uint8_t> has_group(vocabulary.tokens.size());
  int32_t current = -1;
  for (const Merge& merge : merges) {
    for (const int32_t id : {merge.left, merge.right, merge.merged}) {
      if (vocabulary.tokens[id].kind != TokenKind::kNormal) return false;
    }
    listed.emplace(PairKey(merge.left, merge.right), merge.merged);
    if (merge.merged == current) continue;
    current = merge.merged;
    if (has_group[current]++ != 0) return false;
  }
  for (const auto& [piece, id] : pieces) {
    for (size_t cut = Utf8Length(piece); cut < piece.size(); cut += Utf8Length(piece.substr(cut))) {
      const auto left = pieces.find(piece.substr(0, cut));
      const auto right = pieces.find(piece.substr(cut));
      if (left == pieces.end() || right == pieces.end()) continue;
      if (!listed.contains(PairKey(left->second, right->second))) return false;
    }
  }
  return true;
}

std::unique_ptr<Tokenizer> MakeMergeTokenizer(Vocabulary vocabulary,
                                              const std::vector<Merge>& merges) {
  return std::make_unique<MergeTokenizer>(std::move(vocabulary), merges);
}

}  // namespace octet
