#include "io/line_reader.h"

#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace octet {

struct LineReader::File {
  gzFile handle = nullptr;
  ~File() {
    if (handle != nullptr) gzclose(handle);
  }
};

LineReader::LineReader(std::filesystem::path path, std::unique_ptr<File> file)
    : path_(std::move(path)), file_(std::move(file)), buffer_(1u << 16) {}
LineReader::LineReader(LineReader&&) noexcept = default;
LineReader::~LineReader() = default;

Result<LineReader> LineReader::Open(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return Err(ErrorCode::kInvalidArgument, "{} is a folder; expected a text file", path.string());
  }
  auto file = std::make_unique<File>();
  file->handle = gzopen(path.c_str(), "rb");
  if (file->handle == nullptr) {
    return Err(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: {}", path.string(),
               errno == 0 ? "cannot be opened" : std::strerror(errno));
  }
  return LineReader(path, std::move(file));
}

int64_t LineReader::bytes_read() const { return gzoffset(file_->handle); }

Result<bool> LineReader::Fill() {
  const int got = gzread(file_->handle, buffer_.data(), static_cast<unsigned>(buffer_.size()));
  int code = Z_OK;
  const char* message = gzerror(file_->handle, &code);
  if (got < 0 || (code != Z_OK && code != Z_STREAM_END)) {
    return Err(ErrorCode::kCorrupt, "{}: after line {}: {}; the gzip stream is damaged or cut",
               path_.string(), line_number_, message);
  }
  at_ = 0;
  end_ = static_cast<size_t>(got);
  return got > 0;
}

Result<bool> LineReader::Next(std::string& line) {
  line.clear();
  bool any = false;
  while (true) {
    if (at_ == end_) {
      OCTET_ASSIGN(const bool more, Fill());
      if (!more) break;
    }
    any = true;
    const char* start = buffer_.data() + at_;
    const auto* feed = static_cast<const char*>(std::memchr(start, '\n', end_ - at_));
    const size_t n = feed != nullptr ? static_cast<size_t>(feed - start) : end_ - at_;
    if (line.size() + n > kMaxLineBytes) {
      return Err(ErrorCode::kCorrupt, "{}: line {} is longer than {} bytes; is it text?",
                 path_.string(), line_number_ + 1, kMaxLineBytes);
    }
    line.append(start, n);
    at_ += n;
    if (feed == nullptr) continue;
    ++at_;
    break;
  }
  if (!any) return false;
  ++line_number_;
  if (!line.empty() && line.back() == '\r') line.pop_back();
  if (line_number_ == 1 && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
  return true;
}

}  // namespace octet
