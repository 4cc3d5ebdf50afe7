#include "base/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace octet {

Result<FolderLock> FolderLock::Take(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    return Err(ErrorCode::kIo, "{}: cannot make this folder: {}", folder.string(), error.message());
  const std::filesystem::path path = folder / ".lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0)
    return Err(ErrorCode::kIo, "{}: cannot create: {}", path.string(), std::strerror(errno));
  FolderLock lock(fd);
  // File systems without locks are used without one.
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    return Err(ErrorCode::kInvalidArgument,
               "{}: another process is at work in this folder; wait for it or choose another",
               folder.string());
  }
  return lock;
}

FolderLock::FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FolderLock::~FolderLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace octet
