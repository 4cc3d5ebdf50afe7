#include "toml_reader.h"

#include <algorithm>
#include <set>
#include <utility>

namespace octet::app {
namespace {

bool IsKeyCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class Reader {
 public:
  Reader(std::string_view text, std::string_view where) : text_(text), where_(where) {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;
  }

  Result<std::vector<TomlItem>> Run() {
    std::vector<TomlItem> items;
    std::set<std::string> seen;
    while (true) {
      SkipBlank(/*lines=*/true);
      if (AtEnd()) return items;
      if (Peek() == '[') {
        OCTET_TRY(SkipTable());
      } else {
        OCTET_ASSIGN(TomlItem item, TakeItem());
        if (!seen.insert(item.key).second) return Wrong("\"{}\" is given twice", item.key);
        items.push_back(std::move(item));
      }
      SkipBlank(/*lines=*/false);
      if (!AtEnd() && Peek() != '\n')
        return Wrong("expected the end of the line, got \"{}\"", Shown());
    }
  }

 private:
  bool AtEnd() const { return at_ == text_.size(); }
  char Peek() const { return text_[at_]; }
  std::string_view RestOfLine() const { return text_.substr(at_, text_.find('\n', at_) - at_); }
  /// As much of it as an error shows of what may be anything.
  std::string_view Shown() const { return RestOfLine().substr(0, 60); }

  template <class... Args>
  tl::unexpected<Error> Wrong(fmt::format_string<Args...> format, Args&&... args) const {
    return Err(ErrorCode::kInvalidArgument, "{}:{}: {}", where_, line_,
               fmt::format(format, std::forward<Args>(args)...));
  }

  /// Spaces and comments; `lines`: ends of lines too.
  void SkipBlank(bool lines) {
    while (!AtEnd()) {
      const char c = Peek();
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == ' ' || c == '\t' || c == '\r' || (lines && c == '\n')) {
        line_ += c == '\n' ? 1 : 0;
        ++at_;
      } else {
        return;
      }
    }
  }

  /// Tables only group options.
  Status SkipTable() {
    const std::string_view rest = RestOfLine();
    const size_t end = rest.find(']');
    if (end == std::string_view::npos) return Wrong("\"{}\" has no closing ]", Shown());
    at_ += end + 1;
    if (!AtEnd() && Peek() == ']') ++at_;  // [[a list of tables]]
    return {};
  }

  Result<TomlItem> TakeItem() {
    TomlItem item;
    item.line = line_;
    if (Peek() == '"' || Peek() == '\'') {
      OCTET_ASSIGN(item.key, TakeString());
    } else {
      while (!AtEnd() && IsKeyCharacter(Peek())) item.key += text_[at_++];
    }
    const size_t after = at_;
    SkipBlank(/*lines=*/false);
    if (item.key.empty() || AtEnd() || Peek() != '=') {
      at_ = after;
      return Wrong("expected KEY = VALUE, got \"{}{}\"", item.key, Shown());
    }
    ++at_;
    SkipBlank(/*lines=*/false);
    if (!AtEnd() && Peek() == '[') {
      item.is_list = true;
      OCTET_ASSIGN(item.values, TakeList(item.key));
      return item;
    }
    OCTET_ASSIGN(std::string value, TakeValue(item.key));
    item.values.push_back(std::move(value));
    return item;
  }

  Result<std::vector<std::string>> TakeList(const std::string& key) {
    const int64_t first_line = line_;
    std::vector<std::string> values;
    ++at_;
    while (true) {
      SkipBlank(/*lines=*/true);
      if (!AtEnd() && Peek() == ']') break;
      if (AtEnd()) return Wrong("the list of {} from line {} has no closing ]", key, first_line);
      OCTET_ASSIGN(std::string value, TakeValue(key));
      values.push_back(std::move(value));
      SkipBlank(/*lines=*/true);
      if (!AtEnd() && Peek() == ',') {
        ++at_;
      } else if (!AtEnd() && Peek() != ']') {
        return Wrong("expected , or ] in the list of {}, got \"{}\"", key, Shown());
      }
    }
    ++at_;
    return values;
  }

  Result<std::string> TakeValue(const std::string& key) {
    if (!AtEnd() && (Peek() == '"' || Peek() == '\'')) return TakeString();
    std::string value;
    while (!AtEnd() && (IsKeyCharacter(Peek()) || Peek() == '.' || Peek() == '+'))
      value += text_[at_++];
    const bool number = value.find_first_of("0123456789") != std::string::npos &&
                        value.find_first_not_of("+-.0123456789_eE") == std::string::npos;
    if (value == "true" || value == "false" || value == "inf" || value == "nan") return value;
    if (!number) {
      return Wrong(
          "the value of {} is \"{}{}\"; expected \"text in quotes\", a number, true, "
          "false or a list of them",
          key, value, Shown());
    }
    std::erase(value, '_');
    return value;
  }

  /// "with escapes" or 'without', within one line.
  Result<std::string> TakeString() {
    const char quote = Peek();
    if (text_.substr(at_).starts_with(std::string(3, quote)))
      return Wrong("strings over several lines are not read; expected {}text{}", quote, quote);
    std::string value;
    for (++at_; !AtEnd() && Peek() != '\n' && Peek() != quote; ++at_) {
      if (Peek() != '\\' || quote == '\'') {
        value += Peek();
        continue;
      }
      ++at_;
      static constexpr std::string_view kEscapes = "\"\\nrtbf", kMeanings = "\"\\\n\r\t\b\f";
      const size_t escape = AtEnd() ? std::string_view::npos : kEscapes.find(Peek());
      if (escape == std::string_view::npos)
        return Wrong("unknown escape \\{}; write \\\\ for a backslash", RestOfLine().substr(0, 1));
      value += kMeanings[escape];
    }
    if (AtEnd() || Peek() != quote) return Wrong("a string has no closing {}", quote);
    ++at_;
    return value;
  }

  std::string_view text_;
  std::string where_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

}  // namespace

Result<std::vector<TomlItem>> ReadToml(std::string_view text, std::string_view where) {
  return Reader(text, where).Run();
}

}  // namespace octet::app
