// Completions that repeat their prompt with its log-probabilities, as evaluations ask for them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "support/http_client.h"
#include "support/temp_folder.h"
#include "support/test_server.h"

namespace octet {
namespace {

using nlohmann::json;
using testing::HttpReply;
using testing::StartServer;

const char kPrompt[] = "Once upon a time, there was a caf\xC3\xA9.";

class Echo : public ::testing::Test {
 protected:
  void SetUp() override {
    LoadOptions load;
    load.model = testing::SmallModelPath();
    load.threads = 1;
    model_.emplace(*LanguageModel::Load(load));
    ids_ = *model_->Tokenize(kPrompt);
    const std::vector<float> logits = *model_->Logits(ids_);
    const auto vocab = static_cast<size_t>(model_->info().vocab_size);
    for (size_t i = 0; i + 1 < ids_.size(); ++i) {
      double sum = 0;
      for (size_t v = 0; v < vocab; ++v) sum += std::exp(double{logits[i * vocab + v]});
      expected_.push_back(logits[i * vocab + static_cast<size_t>(ids_[i + 1])] - std::log(sum));
    }
  }
  static json Choice(uint16_t port, const json& request) {
    const HttpReply reply = testing::Post(port, "/v1/completions", request.dump());
    EXPECT_EQ(reply.status, 200) << reply.body;
    return json::parse(reply.body)["choices"][0];
  }
  static json Ask(const json& more) {
    json request = {{"prompt", kPrompt}, {"echo", true}, {"logprobs", 1}, {"temperature", 0}};
    if (!more.is_null()) request.update(more);
    return request;
  }
  /// What an evaluation reads: the first `n` tokens are the prompt's.
  void ExpectPrompt(const json& logprobs) {
    ASSERT_GE(logprobs["tokens"].size(), ids_.size());
    for (const char* list : {"token_logprobs", "top_logprobs", "text_offset"})
      EXPECT_EQ(logprobs[list].size(), logprobs["tokens"].size()) << list;
    EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
    EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
    for (size_t i = 1; i < ids_.size(); ++i) {
      const double got = logprobs["token_logprobs"][i];
      // Both are sums of exp over the vocabulary in double, rounded to float.
      EXPECT_NEAR(got, expected_[i - 1], 1e-5 * std::abs(expected_[i - 1]) + 1e-6) << i;
      EXPECT_GE(logprobs["top_logprobs"][i].begin().value().get<double>(), got);
    }
  }

  std::optional<LanguageModel> model_;
  std::vector<int32_t> ids_;
  std::vector<double> expected_;
};

TEST_F(Echo, HasTheLogProbabilitiesOfThePromptAlone) {
  const auto server = StartServer();
  const json choice = Choice(server->port(), Ask({{"max_tokens", 0}}));
  EXPECT_EQ(choice["text"], kPrompt);
  EXPECT_EQ(choice["finish_reason"], "length");
  EXPECT_EQ(choice["logprobs"]["tokens"].size(), ids_.size());
  ExpectPrompt(choice["logprobs"]);
  // Ids are taken as they are, and a text of them is found where it stands.
  const json by_ids = Choice(server->port(), Ask({{"prompt", ids_}, {"max_tokens", 0}}));
  EXPECT_EQ(by_ids["logprobs"], choice["logprobs"]);
  EXPECT_EQ(by_ids["text"], kPrompt);
}

TEST_F(Echo, GoesOnWithTheAnswer) {
  const auto server = StartServer();
  json plain = Ask({{"max_tokens", 6}});
  plain.erase("echo");
  const json answer = Choice(server->port(), plain);
  const json both = Choice(server->port(), Ask({{"max_tokens", 6}}));
  ExpectPrompt(both["logprobs"]);
  EXPECT_EQ(both["text"], kPrompt + answer["text"].get<std::string>());
  const size_t n = ids_.size();
  ASSERT_EQ(both["logprobs"]["tokens"].size(), n + 6);
  for (size_t i = 0; i < 6; ++i) {
    for (const char* list : {"tokens", "token_logprobs", "top_logprobs"})
      EXPECT_EQ(both["logprobs"][list][n + i], answer["logprobs"][list][i]) << list;
    EXPECT_EQ(both["logprobs"]["text_offset"][n + i],
              answer["logprobs"]["text_offset"][i].get<size_t>() + std::strlen(kPrompt));
  }
  // Every token begins where the one before it ends.
  const std::string text = both["text"];
  const json& tokens = both["logprobs"]["tokens"];
  for (size_t i = 2; i < tokens.size(); ++i) {
    const size_t at = both["logprobs"]["text_offset"][i];
    const std::string token = tokens[i];
    if (token.find("\xEF\xBF\xBD") != std::string::npos) continue;  // a part of a character
    EXPECT_EQ(text.substr(at, token.size()), token) << i;
  }
}

TEST_F(Echo, IsTheSameInAStreamAndAmongSeveral) {
  const auto server = StartServer();
  const json whole = Choice(server->port(), Ask({{"max_tokens", 4}}));
  const HttpReply stream = testing::Post(server->port(), "/v1/completions",
                                         Ask({{"max_tokens", 4}, {"stream", true}}).dump());
  std::string text;
  json lists;
  for (size_t at = 0; (at = stream.body.find("data: {", at)) != std::string::npos;) {
    const size_t end = stream.body.find("\n\n", at);
    const json choice = json::parse(stream.body.substr(at + 6, end - at - 6))["choices"][0];
    at = end;
    text += choice["text"].get<std::string>();
    if (!choice["logprobs"].is_object()) continue;
    for (const auto& [name, list] : choice["logprobs"].items())
      for (const json& element : list) lists[name].push_back(element);
  }
  EXPECT_EQ(text, whole["text"]);
  EXPECT_EQ(lists, whole["logprobs"]);
  // As a harness asks: prompts of ids, several in one request, one token more.
  const json several =
      json::parse(testing::Post(server->port(), "/v1/completions",
                                Ask({{"prompt", {{1, 5, 9}, ids_}}, {"max_tokens", 1}}).dump())
                      .body)["choices"];
  ASSERT_EQ(several.size(), 2u);
  ExpectPrompt(several[1]["logprobs"]);
}

TEST_F(Echo, WithoutLogProbabilitiesComputesNothing) {
  testing::TempFolder folder;
  ServeOptions options;
  options.accounts = (folder / "accounts.db").string();
  options.allow_open = true;
  const auto server = StartServer(options);
  json request = Ask({{"max_tokens", 0}});
  request.erase("logprobs");
  EXPECT_EQ(Choice(server->port(), request)["text"], kPrompt);
  EXPECT_THAT(testing::Get(server->port(), "/metrics").body,
              ::testing::HasSubstr("\noctet_steps_total 0\n"));
  request.erase("echo");
  EXPECT_EQ(testing::Post(server->port(), "/v1/completions", request.dump()).status, 400);
}

}  // namespace
}  // namespace octet
