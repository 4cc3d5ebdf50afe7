// Non-owning typed views: a pointer, a shape, strides. Row-major; the last dimension is dense.
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

namespace octet {

template <class T, int R>
struct View {
  T* data = nullptr;
  std::array<int64_t, R> shape = {};
  std::array<int64_t, R> stride = {};  // in elements; stride[R-1] == 1

  int64_t size() const {
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    return n;
  }
  /// The element of rank 1; the sub-view at `i` of the first dimension otherwise.
  decltype(auto) operator[](int64_t i) const {
    if constexpr (R == 1) {
      return (data[i]);
    } else {
      View<T, R - 1> sub;
      sub.data = data + i * stride[0];
      for (int d = 1; d < R; ++d) {
        sub.shape[d - 1] = shape[d];
        sub.stride[d - 1] = stride[d];
      }
      return sub;
    }
  }
  /// Rows [begin, begin + count) of the first dimension.
  View Rows(int64_t begin, int64_t count) const {
    View part = *this;
    part.data = data + begin * stride[0];
    part.shape[0] = count;
    return part;
  }
  T* begin() const requires(R == 1) { return data; }
  T* end() const requires(R == 1) { return data + shape[0]; }
  operator View<const T, R>() const  // NOLINT(google-explicit-constructor): like T* to const T*
      requires(!std::is_const_v<T>) {
    return {data, shape, stride};
  }
};

/// Dense views over existing memory.
template <class T>
View<T, 1> MakeView(T* data, int64_t n) {
  return {data, {n}, {1}};
}
template <class T>
View<T, 2> MakeView(T* data, int64_t rows, int64_t cols) {
  return {data, {rows, cols}, {cols, 1}};
}
template <class T>
View<T, 3> MakeView(T* data, int64_t a, int64_t b, int64_t c) {
  return {data, {a, b, c}, {b * c, c, 1}};
}

}  // namespace octet
