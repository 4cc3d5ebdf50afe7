// The restricted pickle interpreter.
#include <cstddef>
#include <cstdint>

#include "io/torch_pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto tensors = octet::ReadTorchPickle(std::as_bytes(std::span(data, size)), "fuzz.pkl");
  [[maybe_unused]] volatile size_t keep = tensors ? tensors->size() : 0;
  return 0;
}
