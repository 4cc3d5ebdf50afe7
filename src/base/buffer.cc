#include "base/buffer.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace octet {

Result<Buffer> Buffer::Allocate(size_t bytes, std::string_view what) {
  if (bytes == 0) return Buffer();
  void* p = MAP_FAILED;
  if (bytes <= (size_t{1} << 47)) {  // beyond the address space mmap's errors are obscure
    p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
             -1, 0);
  }
  if (p == MAP_FAILED) {
    return Err(ErrorCode::kOutOfMemory, "{}: cannot reserve {} bytes of memory ({})", what, bytes,
               std::strerror(errno));
  }
  return Buffer(static_cast<std::byte*>(p), bytes);
}

Buffer::~Buffer() {
  if (data_ != nullptr) munmap(data_, size_);
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    if (data_ != nullptr) munmap(data_, size_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

}  // namespace octet
