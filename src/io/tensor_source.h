// The one door to tensors in files: safetensors, .pth, GGUF. Names are whatever the file says.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "quant/format.h"
#include "quant/layout.h"

namespace octet {

enum class OpenMode {
  kFull,         // every byte a header promises must be there
  kHeadersOnly,  // missing or short data is accepted; Data() of such a tensor fails
};

struct TensorInfo {
  std::string name;
  Format format = Format::kF32;
  std::vector<int64_t> shape;         // row-major, outermost first: a matrix is [rows, cols]
  uint64_t bytes = 0;                 // as stored
  Layout layout = Layout::kRowMajor;  // another one only in packed files, and only of matrices

  int64_t values() const {
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    return n;
  }
};

/// "[4096, 14336]".
std::string ShapeString(std::span<const int64_t> shape);

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  /// In the order of the file(s).
  virtual const std::vector<TensorInfo>& tensors() const = 0;
  /// Null when there is none of that name.
  virtual const TensorInfo* Find(std::string_view name) const = 0;
  /// The stored bytes, dense, in the order info.layout says, mapped and not copied; valid as long
  /// as the source.
  /// `info` must be one of tensors(). kNotFound when its file is absent (headers-only opening).
  virtual Result<std::span<const std::byte>> Data(const TensorInfo& info) const = 0;
  /// Says that the tensor will not be read again soon, so that its pages may leave memory.
  virtual void Release(const TensorInfo& info) const = 0;
};

}  // namespace octet
