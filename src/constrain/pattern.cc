#include "constrain/pattern.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/utf8.h"

namespace octet {
namespace {

constexpr int kDeepest = 40;

const CodePointSet kDigit = {{'0', '9'}};
const CodePointSet kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CodePointSet kSpace = {{9, 13},          {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680},
                             {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                             {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
const CodePointSet kLineEnds = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

class PatternParser {
 public:
  /// `parts` null: the text itself, whole, and not what a JSON string shows of it.
  PatternParser(std::string_view pattern, GrammarBuilder& builder, JsonParts* parts)
      : text_(pattern), builder_(builder), parts_(parts) {}
  Result<PatternText> Run();

 private:
  bool ok() const { return fault_.empty(); }
  bool AtEnd() const { return at_ >= text_.size(); }
  char Peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  void Fail(const std::string& what) {
    if (ok()) fault_ = fmt::format("at character {} of \"{}\": {}", at_ + 1, text_, what);
  }
  PatternText Empty() { return {builder_.Empty(), 0, 0}; }
  PatternText OneOf(const CodePointSet& set) {
    return {parts_ != nullptr ? parts_->CharacterOf(set) : builder_.Class(set), 1, 1};
  }
  PatternText Join(const std::vector<PatternText>& parts);
  PatternText Either(const std::vector<PatternText>& ways);
  /// Beyond an end that is not anchored.
  PatternText Anything() {
    if (parts_ == nullptr) return Empty();
    return {builder_.Repeat(parts_->Character(), 0, -1), 0, kEndless};
  }
  PatternText ParseTop();
  PatternText ParseAlternatives(int depth);
  PatternText ParseSequence(int depth);
  PatternText ParseAtom(int depth);
  PatternText ParseGroup(int depth);
  PatternText ParseQuantifiers(PatternText atom);
  bool ParseBraces(int32_t& min, int32_t& max);
  CodePointSet ParseClass();
  CodePointSet ClassMember();
  CodePointSet ParseEscape(bool in_class);
  char32_t ParseHex(int digits);
  char32_t NextCharacter();

  std::string_view text_;
  GrammarBuilder& builder_;
  JsonParts* parts_;
  size_t at_ = 0;
  std::string fault_;
};

PatternText PatternParser::Join(const std::vector<PatternText>& parts) {
  PatternText out;
  std::vector<ExprId> exprs;
  for (const PatternText& part : parts) {
    exprs.push_back(part.expr);
    out.min_length = std::min(kEndless, out.min_length + part.min_length);
    out.max_length = std::min(kEndless, out.max_length + part.max_length);
  }
  out.expr = builder_.Sequence(std::move(exprs));
  return out;
}

PatternText PatternParser::Either(const std::vector<PatternText>& ways) {
  PatternText out = ways.front();
  std::vector<ExprId> exprs;
  for (const PatternText& way : ways) {
    exprs.push_back(way.expr);
    out.min_length = std::min(out.min_length, way.min_length);
    out.max_length = std::max(out.max_length, way.max_length);
  }
  out.expr = builder_.Alternatives(std::move(exprs));
  return out;
}

char32_t PatternParser::NextCharacter() {
  const size_t length = Utf8Length(text_.substr(at_, 4));
  const char32_t c = DecodeUtf8(text_.substr(at_, length));
  at_ += length;
  return c;
}

char32_t PatternParser::ParseHex(int digits) {
  char32_t value = 0;
  for (int i = 0; i < digits; ++i) {
    const char c = Peek();
    const bool digit = c >= '0' && c <= '9', lower = c >= 'a' && c <= 'f';
    if (!digit && !lower && !(c >= 'A' && c <= 'F')) return Fail("expected hexadecimal digits"), 0;
    value = value * 16 + static_cast<char32_t>(digit ? c - '0' : (c | 0x20) - 'a' + 10);
    ++at_;
  }
  if (value >= 0xD800 && value <= 0xDFFF) Fail("surrogates are not supported");
  return value;
}

CodePointSet PatternParser::ParseEscape(bool in_class) {
  ++at_;
  if (AtEnd()) return Fail("a \\ at the end"), CodePointSet{};
  const char c = Peek();
  const auto one = [](char32_t x) { return CodePointSet{{x, x}}; };
  ++at_;
  switch (c) {
    case 'd':
      return kDigit;
    case 'D':
      return Complement(kDigit);
    case 'w':
      return kWord;
    case 'W':
      return Complement(kWord);
    case 's':
      return kSpace;
    case 'S':
      return Complement(kSpace);
    case 'n':
      return one('\n');
    case 'r':
      return one('\r');
    case 't':
      return one('\t');
    case 'f':
      return one('\f');
    case 'v':
      return one('\v');
    case 'x':
      return one(ParseHex(2));
    case 'u':
      if (Peek() == '{') return Fail("\\u{…} is not supported, \\uHHHH is"), CodePointSet{};
      return one(ParseHex(4));
    default:
      break;
  }
  constexpr std::string_view kMarks = "^$\\.*+?()[]{}|/";
  constexpr std::string_view kMoreMarks = "\"'#%&,-:;<=>@_`~! ";
  if (kMarks.find(c) != std::string_view::npos || (c == '-' && in_class) ||
      (parts_ == nullptr && kMoreMarks.find(c) != std::string_view::npos)) {
    return one(static_cast<char32_t>(c));
  }
  --at_;
  Fail(fmt::format("\\{} is not supported", c));
  return {};
}

CodePointSet PatternParser::ClassMember() {
  if (Peek() == '\\') return ParseEscape(true);
  const char32_t c = NextCharacter();
  return {{c, c}};
}

CodePointSet PatternParser::ParseClass() {
  ++at_;
  const bool negated = Peek() == '^';
  if (negated) ++at_;
  CodePointSet set;
  while (ok() && Peek() != ']') {
    if (AtEnd()) {
      Fail("a [ without its ]");
      break;
    }
    CodePointSet part = ClassMember();
    const bool single = part.size() == 1 && part.front().first == part.front().last;
    if (single && Peek() == '-' && Peek(1) != ']' && Peek(1) != '\0') {
      ++at_;
      const CodePointSet high = ClassMember();
      if (high.size() != 1 || high.front().first != high.front().last ||
          high.front().first < part.front().first) {
        Fail("a range of characters that is none");
        break;
      }
      part.front().last = high.front().first;
    }
    set.insert(set.end(), part.begin(), part.end());
  }
  ++at_;
  set = Normalised(std::move(set));
  return negated ? Complement(set) : set;
}

PatternText PatternParser::ParseGroup(int depth) {
  ++at_;
  if (depth >= kDeepest) return Fail("too many groups in groups"), Empty();
  if (Peek() == '?') {
    if (Peek(1) == ':') {
      at_ += 2;
    } else if (Peek(1) == '<' && Peek(2) != '=' && Peek(2) != '!') {
      at_ = std::min(text_.size(), text_.find('>', at_));  // a name
      ++at_;
    } else {
      return Fail("look-around is not supported"), Empty();
    }
  }
  const PatternText group = ParseAlternatives(depth + 1);
  if (ok() && Peek() != ')') Fail("a ( without its )");
  ++at_;
  return group;
}

PatternText PatternParser::ParseAtom(int depth) {
  switch (Peek()) {
    case '(':
      return ParseGroup(depth);
    case '[':
      return OneOf(ParseClass());
    case '.':
      ++at_;
      return OneOf(Complement(kLineEnds));
    case '\\':
      return OneOf(ParseEscape(false));
    case '^':
    case '$':
      return Fail("^ and $ are supported at the ends only"), Empty();
    case '*':
    case '+':
    case '?':
    case '{':
    case '}':
    case ']':
      return Fail("expected something before it, or a \\"), Empty();
    default: {
      const char32_t c = NextCharacter();
      return OneOf({{c, c}});
    }
  }
}

bool PatternParser::ParseBraces(int32_t& min, int32_t& max) {
  ++at_;
  const auto number = [&]() -> int32_t {
    const size_t begin = at_;
    int64_t value = 0;
    while (Peek() >= '0' && Peek() <= '9' && value <= kMostRepeats) {
      value = value * 10 + (text_[at_++] - '0');
    }
    if (at_ == begin || value > kMostRepeats) {
      Fail(fmt::format("expected a number up to {}", kMostRepeats));
    }
    return static_cast<int32_t>(value);
  };
  max = min = number();
  if (ok() && Peek() == ',') {
    ++at_;
    max = Peek() == '}' ? -1 : number();
  }
  if (ok() && Peek() != '}') Fail("expected }");
  ++at_;
  if (max >= 0 && max < min) Fail("the larger count comes first");
  return ok();
}

PatternText PatternParser::ParseQuantifiers(PatternText atom) {
  int32_t min = 0, max = -1;
  const char c = Peek();
  if (c == '*' || c == '+' || c == '?') {
    ++at_;
    min = c == '+' ? 1 : 0;
    max = c == '?' ? 1 : -1;
  } else if (c != '{') {
    return atom;
  } else if (!ParseBraces(min, max)) {
    return atom;
  }
  if (Peek() == '?') ++at_;  // as few as possible: the same texts
  PatternText out;
  out.expr = builder_.Repeat(atom.expr, min, max);
  out.min_length = std::min(kEndless, atom.min_length * min);
  out.max_length = max < 0 ? (atom.max_length > 0 ? kEndless : 0)
                           : std::min(kEndless, std::min(kEndless, atom.max_length) * max);
  return out;
}

PatternText PatternParser::ParseSequence(int depth) {
  std::vector<PatternText> parts;
  while (ok() && !AtEnd() && Peek() != '|' && Peek() != ')' && !builder_.too_large()) {
    if (depth == 0 && Peek() == '$') break;
    parts.push_back(ParseQuantifiers(ParseAtom(depth)));
  }
  return parts.empty() ? Empty() : Join(parts);
}

PatternText PatternParser::ParseAlternatives(int depth) {
  std::vector<PatternText> ways = {ParseSequence(depth)};
  while (ok() && Peek() == '|') {
    ++at_;
    ways.push_back(ParseSequence(depth));
  }
  return Either(ways);
}

PatternText PatternParser::ParseTop() {
  std::vector<PatternText> ways;
  while (ok()) {
    std::vector<PatternText> parts;
    if (Peek() == '^') {
      ++at_;
    } else {
      parts.push_back(Anything());
    }
    parts.push_back(ParseSequence(0));
    if (Peek() == '$') {
      ++at_;
    } else {
      parts.push_back(Anything());
    }
    ways.push_back(Join(parts));
    if (Peek() != '|') break;
    ++at_;
  }
  if (ok() && !AtEnd()) Fail("expected the end, | or an anchor at an end");
  return Either(ways);
}

Result<PatternText> PatternParser::Run() {
  if (!IsValidUtf8(text_)) return Err(ErrorCode::kInvalidArgument, "it is not valid UTF-8");
  const PatternText out = ParseTop();
  if (!ok()) return Err(ErrorCode::kInvalidArgument, "{}", fault_);
  return out;
}

struct Format {
  std::string_view name, pattern;
};

#define OCTET_DATE                                                                               \
  "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-" \
  "9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|[0-9]{2}(?:0[48]|[2468][048]|[13579][26])-02-29)"
#define OCTET_CLOCK "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
#define OCTET_TIME OCTET_CLOCK ":[0-5][0-9](?:\\.[0-9]{1,6})?(?:Z|[+-]" OCTET_CLOCK ")"
#define OCTET_LABEL "[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?"
#define OCTET_HOST OCTET_LABEL "(?:\\." OCTET_LABEL "){0,3}"
#define OCTET_BYTE "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define OCTET_IPV4 OCTET_BYTE "(?:\\." OCTET_BYTE "){3}"
#define OCTET_GROUP "[0-9a-fA-F]{1,4}"
#define OCTET_PATH "(?:/(?:[A-Za-z0-9._~-]|%[0-9A-F]{2}){0,64}){0,8}"
#define OCTET_TAIL                                                               \
  "(?:\\?(?:[A-Za-z0-9._~=&/-]|%[0-9A-F]{2}){0,64})?(?:#[A-Za-z0-9._~/-]{0,32})" \
  "?"

constexpr Format kFormats[] = {
    {"date", "^" OCTET_DATE "$"},
    {"time", "^" OCTET_TIME "$"},
    {"date-time", "^" OCTET_DATE "T" OCTET_TIME "$"},
    {"duration",
     "^P(?:[0-9]{1,4}W|[0-9]{1,4}Y(?:[0-9]{1,2}M)?(?:[0-9]{1,3}D)?|[0-9]{1,4}M(?:[0-9]{1,3}D)?|[0-"
     "9]{1,4}D|T(?:[0-9]{1,4}H(?:[0-9]{1,2}M)?(?:[0-9]{1,2}S)?|[0-9]{1,4}M(?:[0-9]{1,2}S)?|[0-9]{1,"
     "4}S))$"},
    {"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
    {"email", "^[A-Za-z0-9_+-]{1,20}(?:\\.[A-Za-z0-9_+-]{1,20}){0,2}@" OCTET_LABEL
              "(?:\\." OCTET_LABEL "){0,2}\\.[a-z]{2,10}$"},
    {"hostname", "^" OCTET_HOST "$"},
    {"ipv4", "^" OCTET_IPV4 "$"},
    {"ipv6", "^(?:" OCTET_GROUP "(?::" OCTET_GROUP "){7}|(?:" OCTET_GROUP "(?::" OCTET_GROUP
             "){0,2})?::(?:" OCTET_GROUP "(?::" OCTET_GROUP "){0,2})?)$"},
    {"uri", "^(?:https?|ftp|wss?)://" OCTET_HOST "(?::[1-9][0-9]{0,3})?" OCTET_PATH OCTET_TAIL "$"},
    {"uri-reference", "^(?:https?://" OCTET_HOST ")?" OCTET_PATH OCTET_TAIL "$"},
};

}  // namespace

Result<PatternText> PatternGrammar(std::string_view pattern, GrammarBuilder& builder,
                                   JsonParts& parts) {
  return PatternParser(pattern, builder, &parts).Run();
}

Result<Grammar> RegexGrammar(std::string_view pattern) {
  GrammarBuilder builder;
  OCTET_ASSIGN(const PatternText text, PatternParser(pattern, builder, nullptr).Run());
  const int32_t root = builder.DeclareRule("root");
  builder.DefineRule(root, text.expr);
  return builder.Finish(root);
}

Result<PatternText> FormatGrammar(std::string_view format, GrammarBuilder& builder,
                                  JsonParts& parts) {
  std::string names;
  for (const Format& f : kFormats) {
    if (f.name == format) return PatternGrammar(f.pattern, builder, parts);
    names += (names.empty() ? "" : ", ") + std::string(f.name);
  }
  return Err(ErrorCode::kInvalidArgument, "\"{}\" cannot be guaranteed; what can: {}", format,
             names);
}

}  // namespace octet
