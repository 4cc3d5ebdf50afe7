// Zip directories and the tensors behind them. The pickle's checksum stops most of what is changed
// there; fuzz_torch_pickle goes to the interpreter directly.
#include <cstddef>
#include <cstdint>

#include "io/torch_checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  for (const auto mode : {octet::OpenMode::kFull, octet::OpenMode::kHeadersOnly}) {
    octet::MappedTensors tensors;
    if (!octet::AddTorchCheckpoint(tensors, bytes, "fuzz.pth", mode)) continue;
    unsigned sum = 0;
    for (const octet::TensorInfo& info : tensors.tensors()) {
      const auto values = tensors.Data(info);
      if (!values) continue;
      for (const std::byte b : *values) sum += static_cast<unsigned>(b);
    }
    [[maybe_unused]] volatile unsigned keep = sum;
  }
  return 0;
}
