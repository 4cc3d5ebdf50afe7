// One process at a time in a folder.
#pragma once

#include <filesystem>

#include "base/result.h"

namespace octet {

/// Holds a folder until it is destroyed or the process ends, however it ends.
class FolderLock {
 public:
  /// Makes the folder if need be. kInvalidArgument when another process holds it, kIo when it
  /// cannot be written.
  static Result<FolderLock> Take(const std::filesystem::path& folder);
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock();

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace octet
