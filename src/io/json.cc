#include "io/json.h"

#include <algorithm>
#include <string>

#include "base/file.h"

namespace octet {
namespace {

// The deepest nesting of brackets outside strings, whether or not the text is JSON.
int Depth(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

Result<nlohmann::json> ParseJson(std::string_view text, std::string_view where, int max_depth) {
  if (Depth(text) > max_depth) {
    return Err(ErrorCode::kCorrupt, "{}: JSON nested deeper than {} levels", where, max_depth);
  }
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, …": keep what a reader can use.
    std::string_view what = error.what();
    if (const size_t end = what.find("] "); end != what.npos) what.remove_prefix(end + 2);
    return Err(ErrorCode::kCorrupt, "{}: not valid JSON: {}", where, what);
  }
}

Result<nlohmann::json> ReadJsonFile(const std::filesystem::path& path, uint64_t max_bytes) {
  OCTET_ASSIGN(const std::string text, ReadTextFile(path, max_bytes));
  return ParseJson(text, path.string());
}

}  // namespace octet
