#include "io/tensor_source.h"

#include <fmt/ranges.h>

namespace octet {

std::string ShapeString(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace octet
