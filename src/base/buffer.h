// The only owner of bulk memory: zeroed pages straight from the operating system, 64-byte aligned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace octet {

/// Movable, not copyable. Pages are committed on first touch, so an untouched tail costs nothing.
/// From 2 MiB on it starts at a huge page and asks for huge ones: one sequential stream a core
/// reads them half as fast again, because the prefetchers stop at a page's end.
class Buffer {
 public:
  Buffer() = default;
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  /// `bytes` zeroed bytes; `what` names the purpose in the error ("KV cache").
  static Result<Buffer> Allocate(size_t bytes, std::string_view what);

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<std::byte> bytes() { return {data_, size_}; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_);
  }

 private:
  Buffer(std::byte* data, size_t size) : data_(data), size_(size) {}
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace octet
