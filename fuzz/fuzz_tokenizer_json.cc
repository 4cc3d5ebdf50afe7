// Hugging Face's tokenizer.json, and encoding with what they hold.
#include "tokenizer_use.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto [file, text] = octet::fuzzing::SplitInput(data, size);
  const auto tokenizer = octet::TokenizerFromJson(file, "fuzz.json");
  if (tokenizer) octet::fuzzing::UseTokenizer(**tokenizer, text);
  return 0;
}
