// What clients were answered, beside what the ledger says, when the server dies under load.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "octet/accounts.h"
#include "service/account_store.h"
#include "support/http_client.h"
#include "support/server_process.h"
#include "support/temp_folder.h"

namespace octet {
namespace {

using nlohmann::json;
using testing::HttpReply;
using testing::ServerProcess;

struct Row {
  std::string state;
  TokenCount tokens;
};

std::multimap<std::string, Row> ReadRows(const std::filesystem::path& accounts) {
  auto store = *AccountStore::Open(accounts, false);
  auto all = *store.database().Prepare(
      "SELECT request, state, prompt_tokens, cached_tokens, completion_tokens FROM requests");
  std::multimap<std::string, Row> rows;
  for (bool more = *all.Start(); more; more = *all.Step()) {
    rows.emplace(all.Text(0), Row{all.Text(1), {all.Integer(2), all.Integer(3), all.Integer(4)}});
  }
  return rows;
}

TokenCount UsageOf(const json& usage) {
  return {usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"],
          usage["completion_tokens"]};
}

/// The usage a client was told, if it got its whole answer.
std::optional<TokenCount> Told(const HttpReply& reply, bool stream) {
  if (reply.status != 200) return std::nullopt;
  if (!stream) {
    const json whole = json::parse(reply.body, nullptr, false);
    if (whole.is_discarded()) return std::nullopt;
    return UsageOf(whole["usage"]);
  }
  const size_t at = reply.body.find("data: [DONE]\n\n"), mark = reply.body.rfind("\"usage\":{");
  if (at == std::string::npos || mark == std::string::npos) return std::nullopt;
  const size_t begin = reply.body.rfind("data: ", mark) + 6;
  return UsageOf(json::parse(reply.body.substr(begin, at - begin))["usage"]);
}

struct Answers {
  std::mutex mutex;
  std::map<std::string, TokenCount> told;  // by request id
  std::set<std::string> begun;             // of which the client saw at least the head
};

/// Asks one thing after another until the server is gone.
void AskUntilItDies(uint16_t port, const std::string& secret, uint64_t seed, Answers& answers) {
  std::mt19937_64 random(seed);
  const std::string key = "Authorization: Bearer " + secret + "\r\n";
  while (true) {
    const bool stream = random() % 2 == 0;
    json request = {{"prompt", "Once upon a time"},
                    {"max_tokens", 1 + random() % 60},
                    {"seed", random() % 1000},
                    {"stream", stream}};
    if (stream) request["stream_options"] = {{"include_usage", true}};
    HttpReply reply;
    try {
      reply = testing::Post(port, "/v1/completions", request.dump(), key);
    } catch (const std::runtime_error&) {
      return;
    }
    if (reply.status == 0) return;
    const auto told = Told(reply, stream);
    const std::lock_guard lock(answers.mutex);
    if (told) answers.told.emplace(reply.Header("x-request-id"), *told);
    answers.begun.insert(reply.Header("x-request-id"));
  }
}

TEST(Ledger, HasEveryAnswerOnceWhenTheServerIsKilledUnderLoad) {
  const testing::TempFolder folder;
  const auto accounts = folder / "accounts.db";
  const NewApiKey made = *AddApiKey(accounts, "key", {});
  const auto seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  Answers answers;
  for (int round = 0; round < 6; ++round) {
    ServerProcess server(OCTET_BINARY, {"--accounts", accounts.string(), "--threads", "1"});
    std::vector<std::jthread> clients;
    for (int c = 0; c < 8; ++c) {
      clients.emplace_back([&, client_seed = random()] {
        AskUntilItDies(server.port(), made.secret, client_seed, answers);
      });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50 + random() % 500));
    // While another program writes, rows cannot get to the disk: answers that do not wait for
    // theirs would be without.
    auto store = *AccountStore::Open(accounts, false);
    ASSERT_TRUE(store.database().Execute("BEGIN IMMEDIATE"));
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 50));
    server.Signal(SIGKILL);
    server.Wait();
  }
  // What the last one left open is closed when the next begins.
  ServerProcess(OCTET_BINARY, {"--accounts", accounts.string(), "--threads", "1"});
  const auto rows = ReadRows(accounts);
  EXPECT_GT(answers.told.size(), 10u);
  for (const auto& [id, told] : answers.told) {
    ASSERT_EQ(rows.count(id), 1u) << id;
    EXPECT_EQ(rows.find(id)->second.state, "answered") << id;
    EXPECT_EQ(rows.find(id)->second.tokens, told) << id;
  }
  for (const std::string& id : answers.begun) EXPECT_EQ(rows.count(id), 1u) << id;
  size_t answered = 0;
  for (const auto& [id, row] : rows) {
    EXPECT_THAT(row.state, ::testing::AnyOf("answered", "interrupted", "gone")) << id;
    answered += row.state == "answered";
  }
  // The end of an answer may have been on disk but not yet on the wire: at most one a client.
  EXPECT_LE(answered, answers.told.size() + 6 * 8);
  std::cout << answers.told.size() << " answers, " << rows.size() << " rows\n";
}

TEST(Ledger, KeepsBackAnswersThatCannotBeRecorded) {
  const testing::TempFolder folder;
  const auto accounts = folder / "accounts.db";
  const NewApiKey made = *AddApiKey(accounts, "key", {3});
  auto store = *AccountStore::Open(accounts, false);
  ServerProcess server(OCTET_BINARY, {"--accounts", accounts.string(), "--threads", "1"});
  const auto ask = [&](bool stream) {
    const json request = {{"prompt", "Once"}, {"max_tokens", 5}, {"stream", stream}};
    return testing::Post(server.port(), "/v1/completions", request.dump(),
                         "Authorization: Bearer " + made.secret + "\r\n");
  };
  const std::string fail = " ON requests BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
  for (const std::string change : {"INSERT", "UPDATE"}) {
    ASSERT_TRUE(store.database().Execute(("CREATE TRIGGER full BEFORE " + change + fail).c_str()));
    for (const bool stream : {false, true}) {
      const HttpReply reply = ask(stream);
      // Where the row was begun in time, so was the stream, and its end is an error.
      EXPECT_TRUE(reply.status == 503 || (stream && change == "UPDATE")) << reply.status;
      EXPECT_NE(reply.body.find("cannot be recorded"), std::string::npos) << reply.body;
      EXPECT_EQ(reply.body.find("[DONE]"), std::string::npos);
      EXPECT_EQ(reply.body.find("finish_reason\":\"length"), std::string::npos);
    }
    ASSERT_TRUE(store.database().Execute("DROP TRIGGER full"));
  }
  // Nothing was used of the three requests a minute.
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask(i % 2 == 0).status, 200) << i;
  EXPECT_EQ(ask(false).status, 429);
  server.Signal(SIGTERM);
  server.Wait();
  std::map<std::string, int> states;
  for (const auto& [id, row] : ReadRows(accounts)) ++states[row.state];
  EXPECT_EQ(states, (std::map<std::string, int>{{"answered", 3}, {"failed", 4}}));
}

TEST(Ledger, HoldsLimitsAgainst32ClientsOfOneKey) {
  const testing::TempFolder folder;
  const auto accounts = folder / "accounts.db";
  const NewApiKey few = *AddApiKey(accounts, "few", {20});
  const NewApiKey small = *AddApiKey(accounts, "small", {0, 1500});
  ServerProcess server(OCTET_BINARY, {"--accounts", accounts.string(), "--threads", "1"});
  const auto ask = [&](const NewApiKey& key, int i) {
    const json request = {{"prompt", "Once"}, {"max_tokens", 20 + i}, {"ignore_eos", i % 2 == 0}};
    return testing::Post(server.port(), "/v1/completions", request.dump(),
                         "Authorization: Bearer " + key.secret + "\r\n");
  };
  std::atomic<int64_t> answered = 0, refused = 0, tokens = 0;
  std::vector<std::jthread> clients;
  for (int i = 0; i < 32; ++i) {
    clients.emplace_back([&, i] {
      for (int n = 0; n < 2; ++n) {
        const HttpReply reply = ask(few, i);
        ++(reply.status == 200 ? answered : refused);
        if (reply.status == 200) continue;
        EXPECT_EQ(reply.status, 429) << reply.body;
        EXPECT_GT(std::atoi(reply.Header("retry-after").c_str()), 0);
        EXPECT_EQ(reply.Header("x-ratelimit-limit-requests"), "20");
        EXPECT_EQ(reply.Header("x-ratelimit-remaining-requests"), "0");
      }
      // Those that fit after others gave back what they did not use come later.
      for (int n = 0; n < 3; ++n) {
        const HttpReply reply = ask(small, i);
        if (reply.status == 200) {
          tokens += json::parse(reply.body)["usage"]["total_tokens"].get<int64_t>();
        }
      }
    });
  }
  clients.clear();
  EXPECT_EQ(answered, 20);
  EXPECT_EQ(refused, 44);
  EXPECT_LE(tokens, 1500);
  EXPECT_GT(tokens, 1500 - 70) << "the last that was refused asked for fewer than 60";
  const auto usage = *ReadUsage(accounts, {});
  ASSERT_EQ(usage.size(), 2u);
  EXPECT_EQ(usage[0].requests, 20);
  EXPECT_EQ(usage[1].prompt_tokens + usage[1].completion_tokens, tokens);
}

}  // namespace
}  // namespace octet
