// Names of the parts of a split GGUF: PREFIX-00002-of-00005.gguf.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace octet::gguf {

struct SplitName {
  std::filesystem::path prefix;  // with its folder
  int number = 1;                // from 1
  int count = 1;

  /// The path of another part.
  std::filesystem::path Path(int part_number) const;
};

/// No value when the name is not of that form, or says "part 7 of 5".
std::optional<SplitName> ParseSplitName(const std::filesystem::path& path);

}  // namespace octet::gguf
