#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace octet {
namespace {

tl::unexpected<Error> SystemError(const std::filesystem::path& path, std::string_view doing) {
  const int error = errno;
  return Err(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot {}: {}",
             path.string(), doing, std::strerror(error));
}

}  // namespace

Result<std::string> ReadTextFile(const std::filesystem::path& path, uint64_t max_bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return SystemError(path, "open");
  std::string content;
  char chunk[1 << 16];
  for (;;) {
    const ssize_t n = read(fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      auto error = SystemError(path, "read");
      close(fd);
      return error;
    }
    if (n == 0) break;
    content.append(chunk, static_cast<size_t>(n));
    if (content.size() > max_bytes) {
      close(fd);
      return Err(ErrorCode::kCorrupt, "{}: larger than {} bytes, which no such file should be",
                 path.string(), max_bytes);
    }
  }
  close(fd);
  return content;
}

Result<std::span<const std::byte>> ByteReader::Take(uint64_t n, std::string_view what) {
  if (n > remaining()) {
    return Err(ErrorCode::kCorrupt,
               "{}: {} at byte {} needs {} bytes, {} are left; the file is truncated or damaged",
               where_, what, offset_, n, remaining());
  }
  const auto part = bytes_.subspan(offset_, n);
  offset_ += n;
  return part;
}

Status ByteReader::Seek(uint64_t offset, std::string_view what) {
  if (offset > bytes_.size()) {
    return Err(ErrorCode::kCorrupt, "{}: {} is said to be at byte {}, the file ends at {}", where_,
               what, offset, bytes_.size());
  }
  offset_ = offset;
  return {};
}

std::filesystem::path AtomicFileWriter::PartialPath(const std::filesystem::path& path) {
  std::filesystem::path partial = path;
  partial += ".partial";
  return partial;
}

Result<AtomicFileWriter> AtomicFileWriter::Create(const std::filesystem::path& path, bool resume) {
  AtomicFileWriter writer;
  writer.path_ = path;
  writer.keep_partial_ = resume;
  const auto partial = PartialPath(path);
  writer.fd_ = open(partial.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | (resume ? 0 : O_TRUNC), 0644);
  if (writer.fd_ < 0) {
    const int why = errno;
    const std::filesystem::path folder = path.parent_path();
    std::error_code error;
    if (why == ENOENT && !folder.empty() && !std::filesystem::is_directory(folder, error)) {
      return Err(ErrorCode::kNotFound, "{}: there is no such folder to write in; make it first",
                 folder.string());
    }
    errno = why;
    return SystemError(partial, "create");
  }
  const off_t end = lseek(writer.fd_, 0, SEEK_END);
  if (end < 0) return SystemError(partial, "seek");
  writer.offset_ = static_cast<uint64_t>(end);
  return writer;
}

Status AtomicFileWriter::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError(PartialPath(path_), "write");
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset_ += static_cast<uint64_t>(n);
  }
  return {};
}

Status AtomicFileWriter::Truncate(uint64_t offset) {
  if (ftruncate(fd_, static_cast<off_t>(offset)) != 0 ||
      lseek(fd_, static_cast<off_t>(offset), SEEK_SET) < 0) {
    return SystemError(PartialPath(path_), "truncate");
  }
  offset_ = offset;
  return {};
}

Status AtomicFileWriter::Sync() {
  if (fsync(fd_) != 0) return SystemError(PartialPath(path_), "sync");
  return {};
}

Status AtomicFileWriter::Commit() {
  OCTET_TRY(Sync());
  if (rename(PartialPath(path_).c_str(), path_.c_str()) != 0)
    return SystemError(path_, "rename to");
  close(std::exchange(fd_, -1));
  // The rename itself must survive a power cut: sync the folder that holds the name.
  const auto folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
  const int dir = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir >= 0) {
    fsync(dir);
    close(dir);
  }
  return {};
}

AtomicFileWriter::~AtomicFileWriter() {
  if (fd_ < 0) return;
  close(fd_);
  if (!keep_partial_) unlink(PartialPath(path_).c_str());
}

AtomicFileWriter::AtomicFileWriter(AtomicFileWriter&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      keep_partial_(other.keep_partial_),
      offset_(other.offset_) {}

AtomicFileWriter& AtomicFileWriter::operator=(AtomicFileWriter&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(keep_partial_, other.keep_partial_);
  std::swap(offset_, other.offset_);
  return *this;
}

Status WriteFileAtomically(const std::filesystem::path& path, std::string_view content) {
  OCTET_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::Create(path));
  OCTET_TRY(writer.Write(content));
  return writer.Commit();
}

}  // namespace octet
