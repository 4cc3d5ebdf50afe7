// Scratch memory of one step: bump allocation, freed all at once, kept for the next step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/buffer.h"
#include "tensor/view.h"

namespace octet {

/// Grows by adding chunks; after the first step of a given size it allocates nothing. Not
/// thread-safe: ops allocate before they fork. Pointers stay valid until the enclosing Scope ends.
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// 64-byte aligned, uninitialised. Exhausted memory ends the program (sizes are checked before).
  std::byte* AllocateBytes(size_t bytes);

  template <class T>
  T* Allocate(int64_t n) {
    const size_t bytes = static_cast<size_t>(n) * sizeof(T);  // NOLINT(bugprone-sizeof-expression)
    return reinterpret_cast<T*>(AllocateBytes(bytes));
  }
  template <class T>
  View<T, 1> Vector(int64_t n) {
    return MakeView(Allocate<T>(n), n);
  }
  template <class T>
  View<T, 2> Matrix(int64_t rows, int64_t cols) {
    return MakeView(Allocate<T>(rows * cols), rows, cols);
  }

  /// Frees what was allocated during its lifetime.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), chunk_(arena.chunk_), used_(arena.used_) {}
    ~Scope() {
      arena_.chunk_ = chunk_;
      arena_.used_ = used_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    size_t chunk_, used_;
  };

  size_t capacity_bytes() const;

 private:
  std::vector<Buffer> chunks_;
  size_t chunk_ = 0;  // index of the chunk in use
  size_t used_ = 0;   // bytes used in it
};

}  // namespace octet
