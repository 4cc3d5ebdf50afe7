#include "io/gguf_split.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>

namespace octet::gguf {
namespace {

constexpr size_t kDigits = 5;
constexpr std::string_view kOf = "-of-", kExtension = ".gguf";
constexpr size_t kSuffixBytes = 1 + kDigits + kOf.size() + kDigits + kExtension.size();

std::optional<int> FiveDigits(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

}  // namespace

std::filesystem::path SplitName::Path(int part_number) const {
  std::filesystem::path path = prefix;
  path += fmt::format("-{:05}{}{:05}{}", part_number, kOf, count, kExtension);
  return path;
}

std::optional<SplitName> ParseSplitName(const std::filesystem::path& path) {
  const std::string text = path.string();
  if (text.size() <= kSuffixBytes) return std::nullopt;
  std::string_view suffix = std::string_view(text).substr(text.size() - kSuffixBytes);
  if (suffix.front() != '-' || suffix.substr(1 + kDigits, kOf.size()) != kOf ||
      !suffix.ends_with(kExtension)) {
    return std::nullopt;
  }
  const auto number = FiveDigits(suffix.substr(1, kDigits));
  const auto count = FiveDigits(suffix.substr(1 + kDigits + kOf.size(), kDigits));
  if (!number || !count || *number > *count) return std::nullopt;
  return SplitName{text.substr(0, text.size() - kSuffixBytes), *number, *count};
}

}  // namespace octet::gguf
