// Lines of a text file, plain or gzipped, in bounded memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace octet {

class LineReader {
 public:
  /// A longer line is kCorrupt: no text has one, and memory is bounded.
  static constexpr size_t kMaxLineBytes = 64u << 20;

  static Result<LineReader> Open(const std::filesystem::path& path);
  LineReader(LineReader&&) noexcept;
  LineReader& operator=(LineReader&&) = delete;
  ~LineReader();

  /// The next line without its line feed (and carriage return); false at the end. A damaged or cut
  /// gzip stream is kCorrupt.
  Result<bool> Next(std::string& line);
  /// Of the line Next gave last, from 1.
  int64_t line_number() const { return line_number_; }
  /// Bytes of the file, as it lies on disk, that were read so far.
  int64_t bytes_read() const;

 private:
  struct File;
  LineReader(std::filesystem::path path, std::unique_ptr<File> file);
  Result<bool> Fill();

  std::filesystem::path path_;
  std::unique_ptr<File> file_;
  std::vector<char> buffer_;
  size_t at_ = 0, end_ = 0;
  int64_t line_number_ = 0;
};

}  // namespace octet
