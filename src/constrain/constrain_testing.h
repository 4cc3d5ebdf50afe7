// A vocabulary for tests, texts drawn from a grammar, and a slow matcher to compare with.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "constrain/automaton.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace octet::testing {

/// unk, BOS, EOS, all bytes, then words.
class WordTokenizer : public Tokenizer {
 public:
  explicit WordTokenizer(const std::vector<std::string>& words, bool with_bytes = true) {
    vocabulary_.tokens.resize(3);
    vocabulary_.tokens[0].kind = TokenKind::kUnknown;
    vocabulary_.tokens[1].kind = vocabulary_.tokens[2].kind = TokenKind::kControl;
    bytes_.resize(3);
    for (int b = 0; b < 256 && with_bytes; ++b) {
      bytes_.emplace_back(1, static_cast<char>(b));
      vocabulary_.tokens.push_back({"", 0, TokenKind::kByte});
    }
    for (const std::string& word : words) {
      bytes_.push_back(word);
      vocabulary_.tokens.push_back({word, 0, TokenKind::kNormal});
    }
  }
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::vector<int32_t> Encode(std::string_view) const override { return {}; }
  std::string Decode(std::span<const int32_t>) const override { return {}; }
  std::string_view TokenBytes(int32_t id) const override { return bytes_[static_cast<size_t>(id)]; }
  Vocabulary& mutable_vocabulary() { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
  std::vector<std::string> bytes_;
};

/// Words of JSON and of nothing, so that tokens cross every boundary of a grammar.
inline std::vector<std::string> JsonWords() {
  return {"{\"",  "\":",   "\": ", "\",", "\", \"", "\"}",  "}",        "]",        "[[",
          "]]",   "],",    " ",    "  ",  " {",     " [",   "true",     "fal",      "se",
          "null", "nu",    "12",   "345", "0.",     "e+",   "-1",       "name",     "na",
          "me",   "value", " the", "the", "\\u",    "\\\"", "\xC3\xA9", "\xE2\x82", "\xAC",
          "a",    "b",     "c",    "ab",  "abc",    "ca",   "x\xC3"};
}

/// Whole texts, by trying everything: where each expression may end when it begins somewhere.
class SlowMatcher {
 public:
  SlowMatcher(const Grammar& grammar, std::string_view text) : grammar_(grammar), text_(text) {}
  bool Matches() {
    if (!IsValidUtf8(text_)) return false;
    return Ends(grammar_.rules[static_cast<size_t>(grammar_.root)].body, 0).contains(text_.size());
  }

 private:
  using Places = std::set<size_t>;
  const Places& Ends(ExprId id, size_t at) {
    const auto key = std::pair(id, at);
    if (const auto found = memo_.find(key); found != memo_.end()) return found->second;
    Places ends = Find(grammar_.exprs[static_cast<size_t>(id)], at);
    return memo_[key] = std::move(ends);
  }
  Places Find(const Expr& e, size_t at) {
    switch (e.kind) {
      case Expr::Kind::kLiteral:
        return text_.substr(at).starts_with(e.bytes) ? Places{at + e.bytes.size()} : Places{};
      case Expr::Kind::kClass: {
        const size_t length = Utf8Length(text_.substr(at));
        if (length == 0) return {};
        const char32_t c = DecodeUtf8(text_.substr(at, length));
        for (const CodePointRange& r : e.ranges) {
          if (r.first <= c && c <= r.last) return {at + length};
        }
        return {};
      }
      case Expr::Kind::kRule:
        return Ends(grammar_.rules[static_cast<size_t>(e.rule)].body, at);
      case Expr::Kind::kSequence: {
        Places here = {at};
        for (const ExprId child : e.children) here = Step(child, here);
        return here;
      }
      case Expr::Kind::kAlternatives: {
        Places all;
        for (const ExprId child : e.children) all.merge(Places(Ends(child, at)));
        return all;
      }
      case Expr::Kind::kRepeat: {
        Places here = {at}, all;
        for (int32_t i = 0; i < e.min; ++i) here = Step(e.children[0], here);
        all = here;
        // More rounds than characters change nothing.
        const int32_t most = e.max < 0 ? static_cast<int32_t>(text_.size()) + 1 : e.max - e.min;
        for (int32_t i = 0; i < most && !here.empty(); ++i) {
          here = Step(e.children[0], here);
          all.merge(Places(here));
        }
        return all;
      }
    }
    return {};
  }
  Places Step(ExprId child, const Places& from) {
    Places to;
    for (const size_t at : from) to.merge(Places(Ends(child, at)));
    return to;
  }

  const Grammar& grammar_;
  std::string_view text_;
  std::map<std::pair<ExprId, size_t>, Places> memo_;
};

/// A text of the grammar; empty where it got lost in recursion.
class Deriver {
 public:
  Deriver(const Grammar& grammar, uint64_t seed) : grammar_(grammar), random_(seed) {}
  std::pair<std::string, bool> Derive() {
    fuel_ = 300;
    std::string out;
    Add(grammar_.rules[static_cast<size_t>(grammar_.root)].body, out, 0);
    return {out, fuel_ > 0};
  }

 private:
  size_t Pick(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }
  void Add(ExprId id, std::string& out, int depth) {
    if (--fuel_ <= 0 || depth > 60) return void(fuel_ = 0);
    const Expr& e = grammar_.exprs[static_cast<size_t>(id)];
    switch (e.kind) {
      case Expr::Kind::kLiteral:
        out += e.bytes;
        return;
      case Expr::Kind::kClass: {
        if (e.ranges.empty()) return void(fuel_ = 0);
        const CodePointRange& r = e.ranges[Pick(e.ranges.size())];
        out += EncodeUtf8(r.first + static_cast<char32_t>(Pick(r.last - r.first + 1)));
        return;
      }
      case Expr::Kind::kRule:
        return Add(grammar_.rules[static_cast<size_t>(e.rule)].body, out, depth + 1);
      case Expr::Kind::kSequence:
        for (const ExprId child : e.children) Add(child, out, depth + 1);
        return;
      case Expr::Kind::kAlternatives:
        if (e.children.empty()) return void(fuel_ = 0);
        return Add(e.children[Pick(e.children.size())], out, depth + 1);
      case Expr::Kind::kRepeat: {
        const auto more = static_cast<int32_t>(Pick(4));
        const int32_t n = e.max < 0 ? e.min + more : std::min(e.max, e.min + more);
        for (int32_t i = 0; i < n; ++i) Add(e.children[0], out, depth + 1);
        return;
      }
    }
  }

  const Grammar& grammar_;
  std::mt19937_64 random_;
  int fuel_ = 0;
};

inline bool Accepts(Automaton& automaton, std::string_view text) {
  const int32_t state = automaton.Walk(automaton.start(), text);
  return state != Automaton::kDead && automaton.accepting(state);
}

}  // namespace octet::testing
