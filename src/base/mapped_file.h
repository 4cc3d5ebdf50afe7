// A file mapped read-only: the way every checkpoint is read.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "base/result.h"

namespace octet {

/// Movable owner of one read-only shared mapping. An empty file gives an empty span.
class MappedFile {
 public:
  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  /// Errors: kNotFound, kIo (with the path and the system's reason); a directory is
  /// kInvalidArgument.
  static Result<MappedFile> Open(const std::filesystem::path& path);

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

  /// Tells the system that `part` (of bytes()) will not be read again soon, so that its pages may
  /// go. Streaming readers call it to keep memory bounded.
  void Release(std::span<const std::byte> part) const;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace octet
