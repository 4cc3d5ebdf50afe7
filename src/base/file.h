// Small whole-file reads, bounds-checked parsing, and writes that are all or nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/result.h"

namespace octet {

/// The whole file as a string. Errors: kNotFound, kIo; larger than `max_bytes` is kCorrupt.
Result<std::string> ReadTextFile(const std::filesystem::path& path,
                                 uint64_t max_bytes = 1ull << 30);

/// A cursor over untrusted bytes: every read is checked, and the error names the place.
class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string_view where)
      : bytes_(bytes), where_(where) {}

  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return bytes_.size() - offset_; }

  /// The next `n` bytes, or kCorrupt when fewer are left. `what` names the field.
  Result<std::span<const std::byte>> Take(uint64_t n, std::string_view what);
  /// A little-endian scalar.
  template <class T>
  Result<T> Read(std::string_view what) {
    static_assert(std::is_trivially_copyable_v<T>);
    OCTET_ASSIGN(std::span<const std::byte> raw, Take(sizeof(T), what));
    T value;
    std::memcpy(&value, raw.data(), sizeof(T));
    return value;
  }
  Status Seek(uint64_t offset, std::string_view what);

 private:
  std::span<const std::byte> bytes_;
  std::string where_;
  uint64_t offset_ = 0;
};

/// Writes to `path` + ".partial" and renames at Commit(), after fsync: a reader of `path` sees the
/// old file or the whole new one. Without Commit the partial file is deleted, unless kept to
/// resume.
class AtomicFileWriter {
 public:
  AtomicFileWriter() = default;
  ~AtomicFileWriter();
  AtomicFileWriter(AtomicFileWriter&& other) noexcept;
  AtomicFileWriter& operator=(AtomicFileWriter&& other) noexcept;
  AtomicFileWriter(const AtomicFileWriter&) = delete;
  AtomicFileWriter& operator=(const AtomicFileWriter&) = delete;

  /// `resume` keeps an existing partial file's bytes and keeps the partial file on failure.
  static Result<AtomicFileWriter> Create(const std::filesystem::path& path, bool resume = false);
  static std::filesystem::path PartialPath(const std::filesystem::path& path);

  /// Appends at the current offset.
  Status Write(std::span<const std::byte> bytes);
  Status Write(std::string_view text) { return Write(std::as_bytes(std::span(text))); }
  /// Cuts the partial file to `offset` bytes and continues there.
  Status Truncate(uint64_t offset);
  Status Sync();
  Status Commit();
  uint64_t offset() const { return offset_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  bool keep_partial_ = false;
  uint64_t offset_ = 0;
};

/// Replaces the file's content atomically.
Status WriteFileAtomically(const std::filesystem::path& path, std::string_view content);

}  // namespace octet
