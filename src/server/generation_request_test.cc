#include "server/generation_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/json_fields.h"

namespace octet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kUser = R"("messages": [{"role": "user", "content": "hi"}])";

ApiResult<GenerationRequest> Read(const std::string& fields,
                                  ApiResult<GenerationRequest> (*parse)(const nlohmann::json&)) {
  const auto body = ParseBody("{" + fields + "}");
  if (!body) return tl::unexpected(body.error());
  return parse(*body);
}

ApiResult<GenerationRequest> Chat(const std::string& fields) {
  return Read(std::string(kUser) + (fields.empty() ? "" : ", ") + fields, ParseChatRequest);
}

std::string ChatFault(const std::string& fields) {
  const auto request = Chat(fields);
  return request ? "none" : request.error().param + ": " + request.error().message;
}

TEST(ChatRequest, SamplesTheModelsOwnDistributionUnlessTold) {
  const auto request = Chat("");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->sampling.temperature, 1);
  EXPECT_EQ(request->sampling.top_p, 1);
  EXPECT_EQ(request->sampling.top_k, 0);
  EXPECT_EQ(request->sampling.min_p, 0);
  EXPECT_FALSE(request->max_tokens);
  EXPECT_FALSE(request->has_seed);
  EXPECT_EQ(request->n, 1);
  EXPECT_EQ(request->top_logprobs, -1);
}

TEST(ChatRequest, ReadsEveryField) {
  const auto request = Chat(R"("model": "m", "temperature": 0.5, "top_p": 0.9, "top_k": 7,
    "min_p": 0.1, "typical_p": 0.8, "mirostat_tau": 5, "mirostat_eta": 0.2, "repeat_penalty": 1.1,
    "presence_penalty": 0.3, "frequency_penalty": -0.4, "repeat_last_n": 9, "dry_multiplier": 0.6,
    "dry_base": 1.5, "dry_allowed_length": 3, "dry_last_n": 8, "dry_sequence_breakers": ["x"],
    "temperature_first": true, "ignore_eos": true, "logit_bias": {"432": -100, "1": 2.5},
    "seed": 42, "max_completion_tokens": 11, "stop": ["a", "b"], "n": 3, "stream": true,
    "stream_options": {"include_usage": true}, "logprobs": true, "top_logprobs": 4,
    "response_format": {"type": "text"}, "tools": [], "user": "u", "unknown": {"x": 1})");
  ASSERT_TRUE(request) << request.error().message;
  const SamplingOptions& s = request->sampling;
  EXPECT_EQ(request->model, "m");
  EXPECT_EQ(s.temperature, 0.5f);
  EXPECT_EQ(s.top_k, 7);
  EXPECT_EQ(s.mirostat_tau, 5);
  EXPECT_EQ(s.frequency_penalty, -0.4f);
  EXPECT_EQ(s.penalty_last_n, 9);
  EXPECT_EQ(s.dry_allowed_length, 3);
  EXPECT_THAT(s.dry_sequence_breakers, ElementsAre("x"));
  EXPECT_TRUE(s.temperature_first && s.ignore_eos);
  EXPECT_EQ(s.logit_bias.size(), 2u);
  EXPECT_EQ(s.seed, 42u);
  EXPECT_EQ(request->max_tokens, 11);
  EXPECT_THAT(request->stop, ElementsAre("a", "b"));
  EXPECT_EQ(request->n, 3);
  EXPECT_TRUE(request->stream && request->include_usage);
  EXPECT_EQ(request->top_logprobs, 4);
}

TEST(ChatRequest, ReadsMessagesInTheirForms) {
  const auto request = Read(
      R"("messages": [{"role": "developer", "content": "be brief"},
         {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
         {"role": "assistant", "content": "so", "prefix": true}])",
      ParseChatRequest);
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->messages[0].role, "system");
  EXPECT_EQ(request->messages[1].content, "ab");
  EXPECT_TRUE(request->continue_last);
}

TEST(ChatRequest, TakesMistralsFields) {
  const auto request = Chat(R"("random_seed": 7, "safe_prompt": true)");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->sampling.seed, 7u);
  ASSERT_EQ(request->messages.size(), 2u);
  EXPECT_EQ(request->messages[0].role, "system");
}

TEST(ChatRequest, NamesTheFieldThatIsWrong) {
  EXPECT_THAT(ChatFault(R"("temperature": -1)"), HasSubstr("temperature: temperature is -1"));
  EXPECT_THAT(ChatFault(R"("temperature": "hot")"), HasSubstr("temperature is \"hot\""));
  EXPECT_THAT(ChatFault(R"("temperature": 1e300)"), HasSubstr("from 0 to 100"));
  EXPECT_THAT(ChatFault(R"("max_tokens": 0)"), HasSubstr("max_tokens is 0"));
  EXPECT_THAT(ChatFault(R"("max_tokens": 1.5)"), HasSubstr("a whole number"));
  EXPECT_THAT(ChatFault(R"("max_tokens": 99999999999999999999)"), HasSubstr("max_tokens"));
  EXPECT_THAT(ChatFault(R"("n": 65)"), HasSubstr("from 1 to 64"));
  EXPECT_THAT(ChatFault(R"("stop": [""])"), HasSubstr("not empty"));
  EXPECT_THAT(ChatFault(R"("stop": 5)"), HasSubstr("stop"));
  EXPECT_THAT(ChatFault(R"("logit_bias": {"x": 1})"), HasSubstr("\"x\""));
  EXPECT_THAT(ChatFault(R"("logit_bias": {"5": "y"})"), HasSubstr("\"5\""));
  EXPECT_THAT(ChatFault(R"("logit_bias": [])"), HasSubstr("an object"));
  EXPECT_THAT(ChatFault(R"("top_logprobs": 3)"), HasSubstr("\"logprobs\": true"));
  EXPECT_THAT(ChatFault(R"("stream": "yes")"), HasSubstr("true or false"));
  EXPECT_THAT(ChatFault(R"("functions": [{"name": "f"}])"), HasSubstr("use tools"));
}

TEST(ChatRequest, NamesTheMessageThatIsWrong) {
  const auto fault = [](const std::string& messages) {
    const auto request = Read("\"messages\": " + messages, ParseChatRequest);
    return request ? std::string() : request.error().message;
  };
  EXPECT_THAT(fault("[]"), HasSubstr("at least one"));
  EXPECT_THAT(fault("{}"), HasSubstr("an array"));
  EXPECT_THAT(fault("[5]"), HasSubstr("messages[0]: expected an object"));
  EXPECT_THAT(fault(R"([{"content": "x"}])"), HasSubstr("messages[0].role"));
  EXPECT_THAT(fault(R"([{"role": "user", "content": 5}])"), HasSubstr("messages[0].content"));
  EXPECT_THAT(fault(R"([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])"),
              HasSubstr("only parts of type"));
  EXPECT_THAT(fault(R"([{"role": "tool", "tool_call_id": "c", "content": "x"}])"),
              HasSubstr("messages[0].tool_call_id"));
  EXPECT_THAT(fault(R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])"),
              HasSubstr("\"prefix\": true"));
}

TEST(ChatRequest, TakesOctetsOwnFieldsUnderOneName) {
  EXPECT_FALSE(Chat("")->extras);
  EXPECT_TRUE(Chat(R"("octet": {})")->extras);
  EXPECT_EQ(Chat(R"("octet": {})")->trace, RoutingTrace::kNone);
  EXPECT_EQ(Chat(R"("octet": {"trace": true})")->trace, RoutingTrace::kAnswer);
  EXPECT_EQ(Chat(R"("octet": {"trace": "prompt"})")->trace, RoutingTrace::kPrompt);
  EXPECT_EQ(Chat(R"("octet": {"top_k": 3})")->expert_top_k, 3);
  EXPECT_THAT(Chat(R"("octet": {"masked_experts": [1, 7]})")->masked_experts,
              ElementsAre(ElementsAre(1, 7)));
  EXPECT_TRUE(Chat(R"("octet": {"masked_experts": [[1], []]})")->masked_by_layer);
  EXPECT_THAT(ChatFault(R"("octet": {"top_k": 0})"), HasSubstr("octet.top_k"));
  EXPECT_THAT(ChatFault(R"("octet": {"masked_experts": [[1], 2]})"), HasSubstr("masked_experts"));
  EXPECT_THAT(ChatFault(R"("octet": {"masked_experts": [-1]})"), HasSubstr("masked_experts"));
  EXPECT_THAT(ChatFault(R"("octet": 1)"), HasSubstr("expected an object"));
  EXPECT_THAT(ChatFault(R"("octet": {"trace": 2})"), HasSubstr("octet.trace"));
  EXPECT_THAT(ChatFault(R"("octet": {"tracing": true})"), HasSubstr("no such field"));
}

TEST(CompletionRequest, ReadsPromptsInTheirForms) {
  const auto prompts = [](const std::string& prompt) {
    const auto request = Read("\"prompt\": " + prompt, ParseCompletionRequest);
    return request ? static_cast<int>(request->prompts.size()) : -1;
  };
  EXPECT_EQ(prompts("\"a\""), 1);
  EXPECT_EQ(prompts("\"\""), 1);
  EXPECT_EQ(prompts("[1, 2]"), 1);
  EXPECT_EQ(prompts(R"(["a", "b"])"), 2);
  EXPECT_EQ(prompts("[[1], [2, 3]]"), 2);
  EXPECT_EQ(prompts("[]"), -1);
  EXPECT_EQ(prompts("[1, \"a\"]"), -1);
  EXPECT_EQ(prompts("[-1]"), -1);
  EXPECT_EQ(prompts("[1e99]"), -1);
  EXPECT_EQ(prompts("5"), -1);
}

TEST(CompletionRequest, BoundsTheNumberOfAnswers) {
  const auto request = Read(R"("prompt": ["a", "b"], "n": 33)", ParseCompletionRequest);
  ASSERT_FALSE(request);
  EXPECT_THAT(request.error().message, HasSubstr("66 answers"));
}

TEST(MessagesRequest, ReadsAnthropicsFields) {
  const auto request = Read(R"("model": "m", "max_tokens": 5, "system": [{"type": "text", "text":
    "be"}], "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    "stop_sequences": ["x"], "top_k": 3)",
                            ParseMessagesRequest);
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->messages.size(), 3u);
  EXPECT_EQ(request->messages[0].role, "system");
  EXPECT_TRUE(request->continue_last);
  EXPECT_THAT(request->stop, ElementsAre("x"));
  const auto question = Read(std::string(kUser) + ", \"max_tokens\": 5", ParseMessagesRequest);
  ASSERT_TRUE(question);
  EXPECT_FALSE(question->continue_last);
  EXPECT_FALSE(Read(kUser, ParseMessagesRequest)) << "max_tokens is required";
}

TEST(ParseBody, RefusesWhatIsNotAnObjectOfText) {
  const auto fault = [](const std::string& body) {
    const auto json = ParseBody(body);
    return json ? std::string() : json.error().message;
  };
  EXPECT_EQ(fault("{}"), "");
  EXPECT_THAT(fault(""), HasSubstr("not valid JSON"));
  EXPECT_THAT(fault("{\"a\": 1"), HasSubstr("not valid JSON"));
  EXPECT_THAT(fault("[1]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(fault("{\"a\": \"\xff\"}"), HasSubstr("UTF-8"));
  EXPECT_THAT(fault("{\"a\": " + std::string(100000, '[')), HasSubstr("nested"));
  EXPECT_THAT(fault("{\"a\": 1e999}"), HasSubstr("JSON"));
}

}  // namespace
}  // namespace octet
