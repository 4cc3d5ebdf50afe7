#include "token_input.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <fstream>
#include <iostream>
#include <iterator>

namespace octet::app {

Result<std::string> ReadInput(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) return Err(ErrorCode::kNotFound, "cannot open {}", path);
  }
  std::istream& in = path == "-" ? std::cin : file;
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (in.bad()) {
    return Err(ErrorCode::kIo, "cannot read {}", path == "-" ? "standard input" : path);
  }
  return text;
}

Result<std::vector<int32_t>> ParseIds(std::string_view text) {
  constexpr std::string_view kSeparators = " ,;\t\r\n[]";
  std::vector<int32_t> ids;
  while (true) {
    const size_t start = text.find_first_not_of(kSeparators);
    if (start == std::string_view::npos) return ids;
    text.remove_prefix(start);
    const std::string_view word = text.substr(0, text.find_first_of(kSeparators));
    int32_t id = 0;
    const auto parsed = std::from_chars(word.data(), word.data() + word.size(), id);
    if (parsed.ec != std::errc() || parsed.ptr != word.data() + word.size()) {
      return Err(ErrorCode::kInvalidArgument, "'{}' is not a token id (number {} of the input)",
                 word.substr(0, 40), ids.size() + 1);
    }
    ids.push_back(id);
    text.remove_prefix(word.size());
  }
}

std::string JoinIds(const std::vector<int32_t>& ids) {
  return fmt::format("{}", fmt::join(ids, " "));
}

}  // namespace octet::app
