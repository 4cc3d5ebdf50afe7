// Importance matrices, in both forms.
#include <cstddef>
#include <cstdint>
#include <span>

#include "ptq/importance.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto matrix = octet::ParseImportance(std::as_bytes(std::span(data, size)), "fuzz.gguf");
  if (!matrix) return 0;
  float sum = 0;
  for (const auto& [name, entry] : matrix->entries) {
    for (int64_t m = 0; m < entry.matrices; ++m) {
      for (const float value : octet::ImportanceOf(entry, m)) sum += value;
    }
  }
  [[maybe_unused]] volatile float keep = sum;
  return 0;
}
