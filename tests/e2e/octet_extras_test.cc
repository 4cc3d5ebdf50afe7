// What Octet's server adds to the interfaces of others: traces, the experts' load, and the page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "octet/server.h"
#include "support/http_client.h"
#include "support/test_server.h"

namespace octet {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::HttpReply;
using testing::StartServer;

json Chat(bool stream) {
  return {{"messages", {{{"role", "user"}, {"content", "Once upon a time"}}}},
          {"max_tokens", 8},
          {"temperature", 0},
          {"stream", stream},
          {"octet", {{"trace", true}}}};
}

std::vector<json> Chunks(const std::string& body) {
  std::vector<json> chunks;
  for (size_t at = 0; (at = body.find("data: {", at)) != std::string::npos;) {
    const size_t end = body.find("\n\n", at);
    chunks.push_back(json::parse(body.substr(at + 6, end - at - 6)));
    at = end;
  }
  return chunks;
}

TEST(OctetExtras, ShowTheSameTraceWholeAndStreamed) {
  const auto server = StartServer();
  const HttpReply whole = testing::Post(server->port(), "/v1/chat/completions", Chat(false).dump());
  ASSERT_EQ(whole.status, 200) << whole.body;
  const json answer = json::parse(whole.body)["choices"][0];
  const json& tokens = answer["octet"]["tokens"];
  ASSERT_EQ(tokens.size(), 8u);
  std::string text;
  for (const json& token : tokens) text += token["text"].get<std::string>();
  EXPECT_EQ(text, answer["message"]["content"]);

  const HttpReply stream = testing::Post(server->port(), "/v1/chat/completions", Chat(true).dump());
  size_t n = 0;
  json end;
  for (const json& chunk : Chunks(stream.body)) {
    const json& choice = chunk["choices"][0];
    if (!choice.contains("octet")) continue;
    if (!choice["finish_reason"].is_null()) {
      end = choice["octet"];
      continue;
    }
    EXPECT_EQ(choice["octet"]["token"], tokens[n]["token"]);
    EXPECT_EQ(choice["octet"]["routing"], tokens[n]["routing"]);
    EXPECT_EQ(choice["octet"]["routing"][0]["experts"].size(), 5u);
    ++n;
  }
  EXPECT_EQ(n, 8u);
  EXPECT_EQ(end["completion_tokens"], 8);
  EXPECT_GT(end["tokens_per_second"].get<double>(), 0);
  EXPECT_GT(end["weight_bytes_per_token"].get<int64_t>(), 0);
}

TEST(OctetExtras, ArePartOfAnAnswerOnlyWhereAskedFor) {
  const auto server = StartServer();
  json request = Chat(false);
  request.erase("octet");
  const HttpReply plain = testing::Post(server->port(), "/v1/chat/completions", request.dump());
  EXPECT_EQ(plain.body.find("\"octet\""), std::string::npos);
  request["octet"] = {{"tracing", true}};
  const HttpReply wrong = testing::Post(server->port(), "/v1/chat/completions", request.dump());
  EXPECT_EQ(wrong.status, 400);
  EXPECT_THAT(wrong.body, HasSubstr("octet.tracing"));
}

TEST(OctetExtras, ChangeWhichExpertsWork) {
  const auto server = StartServer();
  json request = Chat(false);
  request["octet"] = {{"trace", true}, {"top_k", 1}, {"masked_experts", {0, 1, 2}}};
  const HttpReply reply = testing::Post(server->port(), "/v1/chat/completions", request.dump());
  ASSERT_EQ(reply.status, 200) << reply.body;
  const json answer = json::parse(reply.body)["choices"][0]["octet"];
  for (const json& token : answer["tokens"]) {
    for (const json& layer : token["routing"][0]["experts"]) {
      ASSERT_EQ(layer.size(), 1u);
      EXPECT_GE(layer[0], 3);
    }
  }
  for (const auto& [field, value] : {std::pair<std::string, json>{"top_k", 9},
                                     {"masked_experts", {0, 1, 2, 3, 4, 5, 6, 7}},
                                     {"masked_experts", {8}},
                                     {"masked_experts", {{1}, {2}}}}) {
    request["octet"] = {{field, value}};
    const HttpReply wrong = testing::Post(server->port(), "/v1/chat/completions", request.dump());
    EXPECT_EQ(wrong.status, 400) << field << value;
  }
}

TEST(OctetExtras, CountTheLoadOfExperts) {
  const auto server = StartServer();
  testing::Post(server->port(), "/v1/chat/completions", Chat(false).dump());
  const json load = json::parse(testing::Get(server->port(), "/v1/octet/experts").body);
  EXPECT_EQ(load["layers"], 5);
  EXPECT_EQ(load["experts"], 8);
  int64_t first = -1;
  for (const json& layer : load["load"]) {
    int64_t sum = 0;
    for (const json& count : layer) sum += count.get<int64_t>();
    if (first < 0) first = sum;
    EXPECT_EQ(sum, first);
    EXPECT_GT(sum, 0);
  }
}

TEST(Page, IsServedWithoutAKeyAndRunsNothingButItself) {
  ServeOptions options;
  options.api_keys = {"secret"};
  const auto server = StartServer(options);
  const HttpReply page = testing::Get(server->port(), "/");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.Header("content-type"), HasSubstr("text/html"));
  EXPECT_THAT(page.Header("content-security-policy"), HasSubstr("default-src 'none'"));
  EXPECT_THAT(page.Header("content-security-policy"), HasSubstr("script-src 'self'"));
  EXPECT_EQ(testing::Get(server->port(), "/v1/octet/experts").status, 401);
}

TEST(Page, IsNotSentAgainToWhoHasIt) {
  const auto server = StartServer();
  const std::string tag = testing::Get(server->port(), "/page.js").Header("etag");
  if (tag.empty()) GTEST_SKIP() << "this program was built without the page (no Node.js)";
  const HttpReply again =
      testing::Get(server->port(), "/page.js", "If-None-Match: " + tag + "\r\n");
  EXPECT_EQ(again.status, 304);
  EXPECT_EQ(testing::Get(server->port(), "/page.js", "If-None-Match: \"other\"\r\n").status, 200);
}

}  // namespace
}  // namespace octet
