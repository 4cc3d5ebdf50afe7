// Bodies of requests, read as each interface would.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "server/answer_shape.h"
#include "server/generation_request.h"
#include "server/json_fields.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using octet::Interface;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto body = octet::ParseBody(text);
  if (!body) return 0;
  size_t seen = 0;
  using Parse = octet::ApiResult<octet::GenerationRequest> (*)(const nlohmann::json&);
  const std::pair<Interface, Parse> readers[] = {
      {Interface::kChat, octet::ParseChatRequest},
      {Interface::kCompletions, octet::ParseCompletionRequest},
      {Interface::kMessages, octet::ParseMessagesRequest},
      {Interface::kResponses, octet::ParseResponsesRequest},
      {Interface::kChat, octet::ParseMessages}};
  for (const auto& [interface, parse] : readers) {
    auto request = parse(*body);
    if (request && octet::ReadAnswerShape(text, interface, *request)) ++seen;
    seen += request ? request->messages.size() + request->prompts.size()
                    : octet::Dump(octet::OpenAiError(request.error())).size();
  }
  [[maybe_unused]] volatile size_t keep = seen;
  return 0;
}
