// Bodies of requests, read as each interface would.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "server/generation_request.h"
#include "server/json_fields.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto body = octet::ParseBody({reinterpret_cast<const char*>(data), size});
  if (!body) return 0;
  size_t seen = 0;
  for (const auto parse :
       {octet::ParseChatRequest, octet::ParseCompletionRequest, octet::ParseMessagesRequest,
        octet::ParseResponsesRequest, octet::ParseMessages}) {
    const auto request = parse(*body);
    seen += request ? request->messages.size() + request->prompts.size()
                    : octet::Dump(octet::OpenAiError(request.error())).size();
  }
  if (const auto inputs = octet::ParseInputs(*body)) seen += inputs->size();
  [[maybe_unused]] volatile size_t keep = seen;
  return 0;
}
