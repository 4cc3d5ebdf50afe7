// GGUF headers and the reading of all tensor data behind them.
#include <cstddef>
#include <cstdint>

#include "io/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  for (const auto mode : {octet::OpenMode::kFull, octet::OpenMode::kHeadersOnly}) {
    const auto file = octet::ParseGguf(bytes, "fuzz.gguf", mode);
    if (!file) continue;
    unsigned sum = 0;
    for (const octet::TensorInfo& info : (*file)->tensors()) {
      const auto values = (*file)->Data(info);
      if (!values) continue;
      for (const std::byte b : *values) sum += static_cast<unsigned>(b);
    }
    [[maybe_unused]] volatile unsigned keep = sum;
  }
  return 0;
}
