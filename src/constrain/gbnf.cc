#include "constrain/gbnf.h"

#include <fmt/format.h>

#include <unordered_map>

#include "text/utf8.h"

namespace octet {
namespace {

constexpr size_t kMostBytes = 1u << 20;
constexpr int kDeepest = 100;  // groups in groups

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}
  Result<Grammar> Run();

 private:
  bool ok() const { return fault_.empty(); }
  char Peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool AtEnd() const { return at_ >= text_.size(); }
  void Fail(const std::string& what) { FailAt(at_, what); }
  void FailAt(size_t at, const std::string& what);
  std::pair<int32_t, size_t> Place(size_t at);
  bool SkipSpace(bool newlines);
  std::string_view Name();
  int32_t RuleNamed(std::string_view name, size_t at);
  void ParseRule();
  ExprId ParseAlternatives(int depth);
  ExprId ParseSequence(int depth);
  ExprId ParseElement(int depth);
  ExprId ParseLiteral();
  ExprId ParseClass();
  ExprId ParseRepeats(ExprId element);
  int32_t ParseCount();
  char32_t ParseCharacter();
  char32_t ParseHex(int digits);

  struct Known {
    int32_t rule;
    size_t first_use;
    bool defined = false;
  };
  struct LinePlace {
    size_t at = 0, line_begin = 0;
    int32_t line = 1;
  };
  std::string_view text_;
  size_t at_ = 0;
  LinePlace place_;
  std::string fault_;
  GrammarBuilder builder_;
  std::unordered_map<std::string_view, Known> names_;
};

/// Line and column from 1. Goes on from where it was asked last.
std::pair<int32_t, size_t> Parser::Place(size_t at) {
  if (at < place_.at) place_ = {};
  for (; place_.at < at && place_.at < text_.size(); ++place_.at) {
    if (text_[place_.at] == '\n') ++place_.line, place_.line_begin = place_.at + 1;
  }
  return {place_.line, at - place_.line_begin + 1};
}

void Parser::FailAt(size_t at, const std::string& what) {
  if (!ok()) return;
  const auto [line, column] = Place(at);
  fault_ = fmt::format("grammar, line {}, column {}: {}", line, column, what);
}

/// Spaces and comments, and with `newlines` ends of lines; whether a line ended.
bool Parser::SkipSpace(bool newlines) {
  bool ended = false;
  while (!AtEnd()) {
    const char c = Peek();
    if (c == '#') {
      while (!AtEnd() && Peek() != '\n') ++at_;
    } else if (c == ' ' || c == '\t' || c == '\r') {
      ++at_;
    } else if (c == '\n' && newlines) {
      ++at_;
      ended = true;
    } else {
      break;
    }
  }
  return ended;
}

std::string_view Parser::Name() {
  const size_t begin = at_;
  while (IsNameCharacter(Peek())) ++at_;
  return text_.substr(begin, at_ - begin);
}

int32_t Parser::RuleNamed(std::string_view name, size_t at) {
  const auto found = names_.find(name);
  if (found != names_.end()) return found->second.rule;
  const int32_t rule = builder_.DeclareRule(std::string(name), Place(at).first);
  names_.emplace(name, Known{rule, at});
  return rule;
}

char32_t Parser::ParseHex(int digits) {
  char32_t value = 0;
  for (int i = 0; i < digits; ++i, ++at_) {
    const int digit = HexDigit(Peek());
    if (digit < 0) return Fail(fmt::format("expected {} hexadecimal digits", digits)), 0;
    value = value * 16 + static_cast<char32_t>(digit);
  }
  if (value > kLastCodePoint || (value >= 0xD800 && value <= 0xDFFF)) {
    FailAt(at_ - static_cast<size_t>(digits), "no character has this number");
    return 0;
  }
  return value;
}

char32_t Parser::ParseCharacter() {
  if (Peek() != '\\') {
    const size_t length = Utf8Length(text_.substr(at_, 4));
    const char32_t c = DecodeUtf8(text_.substr(at_, length));
    at_ += length;
    return c;
  }
  const char kind = Peek(1);
  at_ += 2;
  switch (kind) {
    case 'x':
      return ParseHex(2);
    case 'u':
      return ParseHex(4);
    case 'U':
      return ParseHex(8);
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'n':
      return '\n';
    case '\\':
    case '"':
    case '[':
    case ']':
    case '-':
    case '^':
      return static_cast<char32_t>(kind);
    default:
      FailAt(at_ - 2,
             "unknown escape; there are \\\\ \\\" \\[ \\] \\- \\^ \\n \\r \\t \\xHH \\uHHHH "
             "\\UHHHHHHHH");
      return 0;
  }
}

ExprId Parser::ParseLiteral() {
  const size_t begin = at_++;
  std::string bytes;
  while (ok() && Peek() != '"') {
    if (AtEnd() || Peek() == '\n') {
      FailAt(begin, "this text has no closing \"");
      break;
    }
    bytes += EncodeUtf8(ParseCharacter());
  }
  ++at_;
  return builder_.Literal(bytes);
}

ExprId Parser::ParseClass() {
  const size_t begin = at_++;
  const bool negated = Peek() == '^';
  if (negated) ++at_;
  CodePointSet ranges;
  while (ok() && Peek() != ']') {
    if (AtEnd() || Peek() == '\n') {
      FailAt(begin, "this [ has no closing ]");
      break;
    }
    const size_t at = at_;
    CodePointRange range;
    range.first = range.last = ParseCharacter();
    if (Peek() == '-' && Peek(1) != ']' && ok()) {
      ++at_;
      if (AtEnd() || Peek() == '\n') continue;
      range.last = ParseCharacter();
      if (range.last < range.first) FailAt(at, "this range ends before it begins");
    }
    ranges.push_back(range);
  }
  ++at_;
  if (ranges.empty() && !negated) FailAt(begin, "a class of no characters matches nothing");
  ranges = Normalised(std::move(ranges));
  return builder_.Class(negated ? Complement(ranges) : ranges);
}

int32_t Parser::ParseCount() {
  const size_t begin = at_;
  int64_t count = 0;
  while (Peek() >= '0' && Peek() <= '9' && count <= kMostRepeats) {
    count = count * 10 + (text_[at_++] - '0');
  }
  if (at_ == begin) Fail("expected a number");
  if (count > kMostRepeats) FailAt(begin, fmt::format("more than {} repetitions", kMostRepeats));
  return static_cast<int32_t>(count);
}

ExprId Parser::ParseRepeats(ExprId element) {
  while (ok()) {
    const char c = Peek();
    int32_t min = 0, max = -1;
    if (c == '*' || c == '+' || c == '?') {
      ++at_;
      min = c == '+' ? 1 : 0;
      max = c == '?' ? 1 : -1;
    } else if (c == '{') {
      const size_t begin = at_++;
      SkipSpace(false);
      max = min = ParseCount();
      SkipSpace(false);
      if (Peek() == ',') {
        ++at_;
        SkipSpace(false);
        max = Peek() == '}' ? -1 : ParseCount();
        SkipSpace(false);
      }
      if (Peek() != '}') Fail("expected , or }");
      ++at_;
      if (max >= 0 && max < min) FailAt(begin, "the larger count comes first");
    } else {
      return element;
    }
    element = builder_.Repeat(element, min, max);
  }
  return element;
}

ExprId Parser::ParseElement(int depth) {
  const char c = Peek();
  if (c == '"') return ParseLiteral();
  if (c == '[') return ParseClass();
  if (c == '.') {
    ++at_;
    return builder_.Class(Complement({}));
  }
  if (c == '(') {
    const size_t begin = at_++;
    if (depth >= kDeepest) {
      Fail(fmt::format("more than {} groups in groups", kDeepest));
      return 0;
    }
    SkipSpace(true);
    const ExprId group = ParseAlternatives(depth + 1);
    if (ok() && Peek() != ')') FailAt(begin, "this ( has no closing )");
    ++at_;
    return group;
  }
  const size_t begin = at_;
  const std::string_view name = Name();
  return builder_.Rule(RuleNamed(name, begin));
}

ExprId Parser::ParseSequence(int depth) {
  std::vector<ExprId> elements;
  while (ok() && !builder_.too_large()) {
    const char c = Peek();
    if (c != '"' && c != '[' && c != '.' && c != '(' && !IsNameCharacter(c)) break;
    elements.push_back(ParseRepeats(ParseElement(depth)));
    SkipSpace(depth > 0);
  }
  return builder_.Sequence(std::move(elements));
}

ExprId Parser::ParseAlternatives(int depth) {
  std::vector<ExprId> alternatives;
  while (ok() && !builder_.too_large()) {
    alternatives.push_back(ParseSequence(depth));
    // An alternative may stand on a line of its own.
    const size_t end = at_;
    SkipSpace(true);
    if (Peek() != '|') {
      if (depth == 0) at_ = end;
      break;
    }
    ++at_;
    SkipSpace(true);
  }
  return builder_.Alternatives(std::move(alternatives));
}

void Parser::ParseRule() {
  const size_t begin = at_;
  const std::string_view name = Name();
  if (name.empty()) return Fail("expected the name of a rule");
  const int32_t rule = RuleNamed(name, begin);
  Known& known = names_.find(name)->second;
  if (known.defined) return FailAt(begin, fmt::format("the rule \"{}\" is there already", name));
  known.defined = true;
  SkipSpace(false);
  if (text_.substr(at_, 3) != "::=") return Fail("expected ::=");
  at_ += 3;
  SkipSpace(true);
  const ExprId body = ParseAlternatives(0);
  if (!ok()) return;
  builder_.DefineRule(rule, body);
  const bool ended = SkipSpace(true);
  if (!ended && !AtEnd()) {
    Fail(
        "expected a text in quotes, a [class], a (group), the name of a rule, or the end of the "
        "line");
  }
}

Result<Grammar> Parser::Run() {
  if (text_.size() > kMostBytes) {
    return Err(ErrorCode::kInvalidArgument, "the grammar has {} bytes, at most {} work",
               text_.size(), kMostBytes);
  }
  if (!IsValidUtf8(text_) || text_.find('\0') != std::string_view::npos) {
    return Err(ErrorCode::kInvalidArgument, "the grammar is not valid UTF-8 text");
  }
  SkipSpace(true);
  while (ok() && !AtEnd() && !builder_.too_large()) ParseRule();
  for (const auto& [name, known] : names_) {
    // A map's order is nobody's: the first in the text is named.
    if (!ok() || known.defined) continue;
    const Known* first = &known;
    std::string_view first_name = name;
    for (const auto& [other, k] : names_) {
      if (!k.defined && k.first_use < first->first_use) first = &k, first_name = other;
    }
    FailAt(first->first_use, fmt::format("there is no rule \"{}\"", first_name));
  }
  if (builder_.too_large()) return builder_.Finish(0);
  if (!ok()) return Err(ErrorCode::kInvalidArgument, "{}", fault_);
  const auto root = names_.find("root");
  if (root == names_.end()) {
    return Err(ErrorCode::kInvalidArgument,
               "the grammar has no rule \"root\", which is where answers begin");
  }
  return builder_.Finish(root->second.rule);
}

}  // namespace

Result<Grammar> ParseGbnf(std::string_view text) { return Parser(text).Run(); }

}  // namespace octet
