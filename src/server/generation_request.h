// What a client asks for, whichever API it speaks. Reading it is pure: JSON in, a value or a fault
// out.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/request.h"
#include "octet/chat.h"
#include "server/api_error.h"

namespace octet {

using PromptText = std::variant<std::string, std::vector<int32_t>>;

struct GenerationRequest {
  std::string model;  // empty: the one there is
  /// A conversation, or else prompts, each with n continuations.
  std::vector<ChatMessage> messages;
  bool continue_last = false;  // the last message is the assistant's, to go on with
  std::vector<PromptText> prompts;

  SamplingOptions sampling;
  bool has_seed = false;
  std::optional<int64_t> max_tokens;  // absent: as many as the context holds; 0 with `echo` alone
  std::vector<std::string> stop;
  Constraint constraint = {};  // ReadAnswerShape fills it in
  bool calls_tools = false;    // the answer may be calls of tools
  int32_t n = 1;
  int32_t top_logprobs = -1;  // as Request's
  bool stream = false;
  bool include_usage = false;  // at the end of a stream
  bool echo = false;           // the prompt before its continuation, with its log-probabilities
  int32_t priority = 0;
  bool extras = false;  // "octet" in the answer
  RoutingTrace trace = RoutingTrace::kNone;
  int32_t expert_top_k = 0;  // 0: the model's
  /// Experts not to be used: one list for all layers, or one for each.
  std::vector<std::vector<int32_t>> masked_experts;
  bool masked_by_layer = false;
  std::string adapter;  // "octet.adapter"; empty: what the model's name says
};

/// Answers to one request, prompts times n, at most.
inline constexpr int32_t kMostChoices = 64;

/// OpenAI's /v1/chat/completions with Mistral's fields.
ApiResult<GenerationRequest> ParseChatRequest(const nlohmann::json& body);
/// OpenAI's /v1/completions.
ApiResult<GenerationRequest> ParseCompletionRequest(const nlohmann::json& body);
/// Anthropic's /v1/messages.
ApiResult<GenerationRequest> ParseMessagesRequest(const nlohmann::json& body);

/// OpenAI's /v1/responses, text alone; nothing is stored.
ApiResult<GenerationRequest> ParseResponsesRequest(const nlohmann::json& body);

struct EmbeddingsRequest {
  std::string model;    // empty: the one there is
  std::string adapter;  // "octet.adapter"
  bool base64 = false;
  std::vector<PromptText> inputs;  // not empty
};
/// OpenAI's /v1/embeddings.
ApiResult<EmbeddingsRequest> ParseEmbeddingsRequest(const nlohmann::json& body);

/// The "messages" of a body alone.
ApiResult<GenerationRequest> ParseMessages(const nlohmann::json& body);

}  // namespace octet
