// Adapters that requests name: as models of their own, for everybody who asks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "octet/accounts.h"
#include "support/adapter_folder.h"
#include "support/http_client.h"
#include "support/temp_folder.h"
#include "support/test_server.h"

namespace octet {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::HttpReply;
using testing::Post;
using testing::StartServer;

class ServedAdapters : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const uint64_t seed : {1, 2}) {
      const auto name = "a" + std::to_string(seed);
      testing::WriteRandomAdapter(folder_ / name, testing::SmallModelPath(), seed);
      options_.adapters.push_back({name, (folder_ / name).string()});
    }
    options_.adapters.push_back({"half", (folder_ / "a1").string() + ":0.5"});
  }
  static json Ask(const json& more, int i = 0) {
    json request = {{"prompt", "Once upon a time"},
                    {"max_tokens", 24},
                    {"temperature", i % 2 * 0.8},
                    {"seed", i},
                    {"logprobs", 0}};
    if (!more.is_null()) request.update(more);
    return request;
  }
  /// The answer's text and log-probabilities.
  static json Said(uint16_t port, const json& request) {
    const HttpReply reply = Post(port, "/v1/completions", request.dump());
    EXPECT_EQ(reply.status, 200) << reply.body;
    const json choice = json::parse(reply.body)["choices"][0];
    return {choice["text"], choice["logprobs"]["token_logprobs"]};
  }
  /// What a server says whose only adapter is for all.
  json OfItsOwnServer(const std::string& adapter, const json& request) const {
    LoadOptions load;
    load.model = testing::SmallModelPath();
    load.threads = 1;
    load.adapter = adapter;
    ServeOptions options;
    options.port = 0;
    const auto server = Server::Start(load, options);
    return Said((*server)->port(), request);
  }

  testing::TempFolder folder_;
  ServeOptions options_;
};

TEST_F(ServedAdapters, GiveTheBitsOfTheirOwnServersWhileAllAreAsked) {
  const auto server = StartServer(options_);
  const std::vector<std::pair<std::string, std::string>> names = {
      {"", ""},
      {"a1", (folder_ / "a1").string()},
      {"a2", (folder_ / "a2").string()},
      {"half", (folder_ / "a1").string() + ":0.5"}};
  constexpr int kAsked = 12;
  std::vector<json> said(kAsked);
  std::vector<std::thread> clients;
  for (int i = 0; i < kAsked; ++i) {
    clients.emplace_back([&, i] {
      const std::string& name = names[static_cast<size_t>(i) % names.size()].first;
      const json by =
          i < 6 || name.empty() ? json{{"model", name}} : json{{"octet", {{"adapter", name}}}};
      said[static_cast<size_t>(i)] = Said(server->port(), Ask(by, i));
    });
  }
  for (std::thread& client : clients) client.join();
  for (size_t i = 0; i < said.size(); ++i) {
    const std::string& adapter = names[i % names.size()].second;
    EXPECT_EQ(said[i], OfItsOwnServer(adapter, Ask({}, static_cast<int>(i)))) << i;
    for (size_t j = 0; j < i && i < names.size(); ++j) EXPECT_NE(said[i], said[j]) << i;
  }
}

TEST_F(ServedAdapters, AreModelsOfEveryInterface) {
  const auto server = StartServer(options_);
  const json models = json::parse(testing::Get(server->port(), "/v1/models").body)["data"];
  ASSERT_EQ(models.size(), 4u);
  EXPECT_EQ(models[0]["parent"], nullptr);
  EXPECT_EQ(models[3]["id"], "half");
  EXPECT_EQ(models[3]["parent"], models[0]["id"]);
  EXPECT_EQ(json::parse(testing::Get(server->port(), "/v1/models/a2").body)["id"], "a2");

  const json messages = {{{"role", "user"}, {"content", "Once upon a time"}}};
  const auto ask = [&](const char* path, json request) {
    std::vector<std::string> answers;
    for (const std::string& model : {models[0]["id"].get<std::string>(), std::string("a1")}) {
      request["model"] = model;
      const HttpReply reply = Post(server->port(), path, request.dump());
      EXPECT_EQ(reply.status, 200) << path << reply.body;
      json answer = json::parse(reply.body);
      EXPECT_EQ(answer["model"], model);
      for (const char* differs : {"id", "model", "created", "created_at"}) answer.erase(differs);
      for (json& item : answer["output"]) item.erase("id");
      answers.push_back(answer.dump());
    }
    EXPECT_NE(answers[0], answers[1]) << path;
    request["model"] = models[0]["id"];
    request["octet"] = {{"adapter", "a1"}};
    json by_field = json::parse(Post(server->port(), path, request.dump()).body);
    for (const char* part : {"choices", "content", "data"}) {
      if (!by_field.contains(part)) continue;
      for (json& choice : by_field[part]) choice.erase("octet");
      EXPECT_EQ(by_field[part], json::parse(answers[1])[part]) << path;
    }
    request["octet"] = {{"trace", true}};
    const bool shown = std::string_view(path).ends_with("/completions");
    EXPECT_EQ(Post(server->port(), path, request.dump()).status, shown ? 200 : 400) << path;
  };
  ask("/v1/chat/completions", {{"messages", messages}, {"max_tokens", 9}, {"temperature", 0}});
  ask("/v1/messages", {{"messages", messages}, {"max_tokens", 9}, {"temperature", 0}});
  ask("/v1/responses", {{"input", "Once"}, {"max_output_tokens", 9}, {"temperature", 0}});
  ask("/v1/embeddings", {{"input", "Once"}});
}

TEST_F(ServedAdapters, AreToldByNameWhereOneIsUnknown) {
  const auto server = StartServer(options_);
  const auto refused = [&](const json& more, int status) {
    const HttpReply reply = Post(server->port(), "/v1/completions", Ask(more).dump());
    EXPECT_EQ(reply.status, status) << reply.body;
    return json::parse(reply.body)["error"]["message"].get<std::string>();
  };
  const std::string list = "\"a1\", \"a2\", \"half\"";
  EXPECT_THAT(refused({{"model", "a3"}}, 404), HasSubstr(list));
  EXPECT_THAT(refused({{"octet", {{"adapter", "a3"}}}}, 400), HasSubstr(list));
  EXPECT_THAT(refused({{"octet", {{"adapter", 3}}}}, 400), HasSubstr("octet.adapter"));
  EXPECT_THAT(refused({{"model", "a1"}, {"octet", {{"adapter", "a2"}}}}, 400),
              HasSubstr("ask for one"));
  EXPECT_EQ(Said(server->port(), Ask({{"model", "a1"}, {"octet", {{"adapter", "a1"}}}})),
            Said(server->port(), Ask({{"model", "a1"}})));
  EXPECT_EQ(Said(server->port(), Ask({{"octet", {{"adapter", nullptr}}}})),
            Said(server->port(), Ask({})));
  const auto without = StartServer();
  const HttpReply none =
      Post(without->port(), "/v1/completions", Ask({{"octet", {{"adapter", "a1"}}}}).dump());
  EXPECT_EQ(none.status, 400);
  EXPECT_THAT(none.body, HasSubstr("--lora NAME=FOLDER"));
}

TEST_F(ServedAdapters, AreNamedInTheLogTheMetricsAndTheLedger) {
  options_.accounts = (folder_ / "accounts.db").string();
  options_.allow_open = true;
  std::mutex mutex;
  std::string log;
  options_.access_log = [&](std::string_view line) {
    const std::lock_guard lock(mutex);
    log.append(line).append("\n");
  };
  ASSERT_TRUE(AddApiKey(options_.accounts, "key", {}));  // makes the file
  const std::string base = "stories260k-mixtral";
  ASSERT_TRUE(SetTokenPrice(options_.accounts, {base, 1, 1, 1}));
  ASSERT_TRUE(SetTokenPrice(options_.accounts, {"a2", 100, 100, 100}));
  {
    const auto server = StartServer(options_);
    ASSERT_EQ(server->info().name, base);
    for (const char* name : {"", "a1", "a2"}) Said(server->port(), Ask({{"model", name}}));
    const std::string metrics = testing::Get(server->port(), "/metrics").body;
    EXPECT_THAT(metrics, HasSubstr("octet_adapter_requests_total{adapter=\"a1\"} 1"));
    EXPECT_THAT(metrics, HasSubstr("octet_adapter_generated_tokens_total{adapter=\"a2\"} 24"));
  }
  EXPECT_THAT(log, HasSubstr("\"adapter\":\"a2\""));
  const auto rows = ReadUsage(options_.accounts, {UsageBy::kModel, "", ""});
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 3u);
  EXPECT_EQ((*rows)[0].name, "a1");
  EXPECT_EQ((*rows)[1].name, "a2");
  // Without a price of its own an adapter costs what the model does.
  EXPECT_GT((*rows)[0].cost, 0);
  EXPECT_DOUBLE_EQ((*rows)[0].cost, (*rows)[2].cost);
  EXPECT_DOUBLE_EQ((*rows)[1].cost, 100 * (*rows)[2].cost);
}

TEST_F(ServedAdapters, HaveNamesOfTheirOwn) {
  LoadOptions load;
  load.model = testing::SmallModelPath();
  const auto why = [&](std::vector<NamedAdapter> adapters) {
    ServeOptions options;
    options.port = 0;
    options.aliases = {"small"};
    options.adapters = std::move(adapters);
    const auto server = Server::Start(load, options);
    return server ? "it started" : server.error().message;
  };
  const std::string a1 = (folder_ / "a1").string();
  EXPECT_THAT(why({{"small", a1}}), HasSubstr("has a name of the model"));
  EXPECT_THAT(why({{"x", a1}, {"x", a1}}), HasSubstr("two adapters are named \"x\""));
  EXPECT_THAT(why({{"", a1}}), HasSubstr("no name"));
  EXPECT_THAT(why({{"x", (folder_ / "none").string()}}), HasSubstr("no such file or folder"));
}

}  // namespace
}  // namespace octet
