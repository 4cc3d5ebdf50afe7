#include "base/buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

namespace octet {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

/// Cuts a mapping down to `bytes` from the first huge-page border on.
std::byte* TrimToHugePages(std::byte* p, size_t mapped, size_t bytes) {
  const size_t skipped = -reinterpret_cast<uintptr_t>(p) % kHugePage;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t kept = (bytes + page - 1) / page * page;
  if (skipped > 0) munmap(p, skipped);
  if (skipped + kept < mapped) munmap(p + skipped + kept, mapped - skipped - kept);
  return p + skipped;
}

}  // namespace

Result<Buffer> Buffer::Allocate(size_t bytes, std::string_view what) {
  if (bytes == 0) return Buffer();
  void* p = MAP_FAILED;
  const bool huge = bytes >= kHugePage;
  const size_t mapped = huge ? bytes + kHugePage : bytes;
  if (bytes <= (size_t{1} << 47)) {  // beyond the address space mmap's errors are obscure
    p = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
             -1, 0);
  }
  if (p == MAP_FAILED) {
    return Err(ErrorCode::kOutOfMemory, "{}: cannot reserve {} bytes of memory ({})", what, bytes,
               std::strerror(errno));
  }
  if (!huge) return Buffer(static_cast<std::byte*>(p), bytes);
  p = TrimToHugePages(static_cast<std::byte*>(p), mapped, bytes);
  // Only a wish: where the system has none to give, ordinary pages serve.
  madvise(p, bytes, MADV_HUGEPAGE);
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
