#include "io/line_reader.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>
#include <string>
#include <vector>

#include "support/temp_folder.h"

namespace octet {
namespace {

void Write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}
void WriteGzip(const std::filesystem::path& path, const std::string& text) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
}
std::vector<std::string> Lines(const std::filesystem::path& path) {
  auto reader = LineReader::Open(path);
  EXPECT_TRUE(reader);
  std::vector<std::string> lines;
  std::string line;
  while (*reader->Next(line)) lines.push_back(line);
  EXPECT_EQ(reader->line_number(), static_cast<int64_t>(lines.size()));
  return lines;
}

TEST(LineReader, PlainAndGzippedAreTheSame) {
  const testing::TempFolder folder;
  // Longer than its buffer, an empty line, a carriage return, no line feed at the end.
  const std::string text = std::string(200000, 'x') + "\n\nb\r\nlast";
  Write(folder.path() / "a.txt", text);
  WriteGzip(folder.path() / "a.txt.gz", text);
  const std::vector<std::string> want = {std::string(200000, 'x'), "", "b", "last"};
  EXPECT_EQ(Lines(folder.path() / "a.txt"), want);
  EXPECT_EQ(Lines(folder.path() / "a.txt.gz"), want);
}

TEST(LineReader, ACutStreamAndAnAbsentFileAreErrors) {
  const testing::TempFolder folder;
  std::string text;
  for (int i = 0; i < 50000; ++i) text += std::to_string(i * 7919 % 10007) + "\n";
  WriteGzip(folder.path() / "a.gz", text);
  std::filesystem::resize_file(folder.path() / "a.gz",
                               std::filesystem::file_size(folder.path() / "a.gz") / 2);
  auto reader = LineReader::Open(folder.path() / "a.gz");
  std::string line;
  Result<bool> more = true;
  while (more && *more) more = reader->Next(line);
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, ErrorCode::kCorrupt);

  const auto absent = LineReader::Open(folder.path() / "none.txt");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(LineReader::Open(folder.path()));
}

}  // namespace
}  // namespace octet
