// Bodies of requests for embeddings.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "server/generation_request.h"
#include "server/json_fields.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto body = octet::ParseBody({reinterpret_cast<const char*>(data), size});
  if (!body) return 0;
  size_t seen = 0;
  const auto request = octet::ParseEmbeddingsRequest(*body);
  if (!request) {
    seen = octet::Dump(octet::OpenAiError(request.error())).size();
  } else {
    // What the rest of the server relies on.
    if (request->inputs.empty() || request->inputs.size() > octet::kMostChoices) __builtin_trap();
    for (const octet::PromptText& input : request->inputs) {
      if (const auto* ids = std::get_if<std::vector<int32_t>>(&input)) {
        for (const int32_t id : *ids) {
          if (id < 0) __builtin_trap();
        }
      }
      ++seen;
    }
  }
  [[maybe_unused]] volatile size_t keep = seen;
  return 0;
}
