#include "tensor/arena.h"

#include <algorithm>

#include "base/check.h"

namespace octet {

std::byte* Arena::AllocateBytes(size_t bytes) {
  constexpr size_t kAlign = 64, kMinChunk = size_t{1} << 20;
  bytes = (bytes + kAlign - 1) / kAlign * kAlign;
  while (chunk_ < chunks_.size() && used_ + bytes > chunks_[chunk_].size()) {
    ++chunk_;
    used_ = 0;
  }
  if (chunk_ == chunks_.size()) {
    auto chunk = Buffer::Allocate(std::max({bytes, kMinChunk, capacity_bytes()}), "scratch");
    CHECK(chunk.has_value());
    chunks_.push_back(*std::move(chunk));
    used_ = 0;
  }
  std::byte* p = chunks_[chunk_].data() + used_;
  used_ += bytes;
  return p;
}

size_t Arena::capacity_bytes() const {
  size_t total = 0;
  for (const Buffer& chunk : chunks_) total += chunk.size();
  return total;
}

}  // namespace octet
