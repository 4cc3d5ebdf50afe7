// The server as clients see it, over real sockets, with the model inside the program.
#include "octet/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "support/http_client.h"
#include "support/small_model.h"
#include "support/temp_folder.h"
#include "support/test_server.h"

namespace octet {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::HttpClient;
using testing::HttpReply;
using testing::StartServer;
using ::testing::StartsWith;

json Parsed(const HttpReply& reply) {
  EXPECT_EQ(reply.status, 200) << reply.body;
  return json::parse(reply.body);
}

/// The values of the metrics, by name.
double Metric(const Server& server, const std::string& name) {
  const std::string text = testing::Get(server.port(), "/metrics").body;
  const size_t at = text.find("\n" + name + " ");
  EXPECT_NE(at, std::string::npos) << name;
  return std::atof(text.c_str() + at + name.size() + 2);
}

/// The text of a stream's chunks, put together.
std::string StreamedText(const std::string& body) {
  std::string text;
  size_t at = 0;
  while ((at = body.find("data: {", at)) != std::string::npos) {
    const size_t end = body.find("\n\n", at);
    const json chunk = json::parse(body.substr(at + 6, end - at - 6));
    EXPECT_FALSE(chunk.contains("error")) << chunk;
    for (const json& choice : chunk["choices"]) {
      text += choice.contains("text") ? choice["text"].get<std::string>()
                                      : choice["delta"].value("content", std::string());
    }
    at = end;
  }
  EXPECT_THAT(body, ::testing::EndsWith("data: [DONE]\n\n"));
  return text;
}

/// A prompt and sampling that differ from request to request.
json Completion(int i, int64_t max_tokens = 40) {
  static const char* const kBeginnings[] = {"Once upon a time", "Lily and Tom", "The little dog",
                                            "One day a boy"};
  return {{"prompt", kBeginnings[i % 4]},
          {"max_tokens", max_tokens},
          {"temperature", i % 3 == 0 ? 0.0 : 0.9},
          {"seed", i}};
}

/// What the library gives for it.
std::string Expected(LanguageModel& model, const json& request) {
  GenerateOptions options;
  options.sampling = SamplingOptions::Plain();
  options.sampling.penalty_last_n = -1;
  options.sampling.temperature = request["temperature"].get<float>();
  options.sampling.seed = request["seed"].get<uint64_t>();
  options.max_tokens = request["max_tokens"].get<int64_t>();
  return model.Generate(request["prompt"].get<std::string>(), options)->text;
}

TEST(Server, LogsTextsOnlyWhereItIsAskedTo) {
  for (const bool asked : {false, true}) {
    ServeOptions options;
    options.log_texts = asked;
    std::mutex mutex;
    std::vector<json> lines;
    options.access_log = [&](std::string_view line) {
      const std::lock_guard lock(mutex);
      lines.push_back(json::parse(line));
    };
    {
      const auto server = StartServer(options);
      json request = Completion(0, 6);
      request["n"] = 2;
      for (const bool stream : {false, true}) {
        request["stream"] = stream;
        EXPECT_EQ(testing::Post(server->port(), "/v1/completions", request.dump()).status, 200);
      }
      EXPECT_EQ(testing::Post(server->port(), "/v1/embeddings", R"({"input": "Lily"})").status,
                200);
    }
    ASSERT_EQ(lines.size(), 3u);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(lines[i].contains("prompts"), asked);
      EXPECT_EQ(lines[i].contains("answers"), asked);
      if (!asked) continue;
      EXPECT_EQ(lines[i]["prompts"], json({"<s> Once upon a time"}));
      EXPECT_EQ(lines[i]["answers"], json({", there was a little g", ", there was a little g"}));
    }
    EXPECT_EQ(lines[2].value("prompts", json()), asked ? json({"<s> Lily"}) : json());
  }
}

TEST(Server, GivesTheTextsOfTheLibraryAmong31OthersWithAnyParallel) {
  LoadOptions load;
  load.model = testing::SmallModelPath();
  load.threads = 1;
  auto model = LanguageModel::Load(load);
  ASSERT_TRUE(model);
  std::vector<std::string> expected;
  for (int i = 0; i < 32; ++i) expected.push_back(Expected(*model, Completion(i)));
  for (const int32_t parallel : {1, 5, 32}) {
    ServeOptions options;
    options.parallel = parallel;
    const auto server = StartServer(options);
    for (int round = 0; round < 2; ++round) {  // the second with a warm prefix cache
      std::vector<std::string> texts(32);
      {
        std::vector<std::jthread> clients;
        for (int i = 0; i < 32; ++i) {
          clients.emplace_back([&, i] {
            json request = Completion(i);
            request["stream"] = i % 2 == 0;
            const HttpReply reply =
                testing::Post(server->port(), "/v1/completions", request.dump());
            texts[static_cast<size_t>(i)] =
                i % 2 == 0 ? StreamedText(reply.body)
                           : Parsed(reply)["choices"][0]["text"].get<std::string>();
          });
        }
      }
      for (size_t i = 0; i < 32; ++i) EXPECT_EQ(texts[i], expected[i]) << i << ", " << parallel;
    }
  }
}

TEST(Server, AnswersChatsWholeAndStreamed) {
  const auto server = StartServer();
  json request = {{"messages", {{{"role", "user"}, {"content", "Once upon a time"}}}},
                  {"temperature", 0},
                  {"max_tokens", 12},
                  {"logprobs", true},
                  {"top_logprobs", 2}};
  const json whole = Parsed(testing::Post(server->port(), "/v1/chat/completions", request.dump()));
  EXPECT_EQ(whole["object"], "chat.completion");
  EXPECT_EQ(whole["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(whole["usage"]["completion_tokens"], 12);
  EXPECT_EQ(whole["choices"][0]["logprobs"]["content"].size(), 12u);
  EXPECT_EQ(whole["choices"][0]["logprobs"]["content"][0]["top_logprobs"].size(), 2u);
  request["stream"] = true;
  request["stream_options"] = {{"include_usage", true}};
  const HttpReply streamed = testing::Post(server->port(), "/v1/chat/completions", request.dump());
  EXPECT_THAT(streamed.Header("content-type"), StartsWith("text/event-stream"));
  EXPECT_EQ(StreamedText(streamed.body), whole["choices"][0]["message"]["content"]);
  EXPECT_THAT(streamed.body, HasSubstr("\"completion_tokens\":12"));
}

TEST(Server, GivesEveryChoiceAsItsOwnSeedStream) {
  const auto server = StartServer();
  const json request = {{"prompt", {"Once", "Twice"}}, {"n", 3}, {"seed", 5}, {"max_tokens", 8}};
  const json whole = Parsed(testing::Post(server->port(), "/v1/completions", request.dump()));
  ASSERT_EQ(whole["choices"].size(), 6u);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(whole["choices"][i]["index"], i);
  EXPECT_NE(whole["choices"][0]["text"], whole["choices"][1]["text"]);
  EXPECT_EQ(whole["usage"]["completion_tokens"], 48);
}

TEST(Server, CountsCachedTokensOfASharedBeginning) {
  const auto server = StartServer();
  std::string beginning;
  for (int i = 0; i < 20; ++i) beginning += "Lily went to the park with her mom. ";
  const auto cached = [&](const std::string& end) {
    const json request = {{"prompt", beginning + end}, {"max_tokens", 1}};
    return Parsed(testing::Post(server->port(), "/v1/completions",
                                request.dump()))["usage"]["prompt_tokens_details"]["cached_tokens"]
        .get<int>();
  };
  EXPECT_EQ(cached("A"), 0);
  EXPECT_GE(cached("B"), 128);
}

TEST(Server, ComputesTheSystemPromptOf20RequestsOnce) {
  LoadOptions load;
  load.model = testing::SmallModelPath();
  load.threads = 2;
  load.context = 2048;
  ServeOptions options;
  options.port = 0;
  const auto server = *Server::Start(load, options);
  std::string system;
  for (int i = 0; i < 100; ++i)
    system += "Lily saw a " + std::to_string(i * 7919) + " in the park. ";
  const auto ask = [&](int i) {
    const json request = {
        {"messages",
         {{{"role", "system"}, {"content", system}},
          {{"role", "user"}, {"content", "What did friend " + std::to_string(i) + " say?"}}}},
        {"max_tokens", 2}};
    return Parsed(testing::Post(server->port(), "/v1/chat/completions", request.dump()))["usage"];
  };
  int64_t prompts = 0, cached = 0;
  std::mutex mutex;
  {
    std::vector<std::jthread> clients;
    for (int i = 0; i < 20; ++i) {
      clients.emplace_back([&, i] {
        const json usage = ask(i);
        EXPECT_GE(usage["prompt_tokens"], 1500);
        const std::lock_guard lock(mutex);
        prompts += usage["prompt_tokens"].get<int64_t>();
        cached += usage["prompt_tokens_details"]["cached_tokens"].get<int64_t>();
      });
    }
  }
  // One of them computes it all, the others what follows the last page in common.
  const auto rows = static_cast<int64_t>(Metric(*server, "octet_prompt_rows_total"));
  EXPECT_EQ(rows, prompts - cached);
  constexpr int64_t kPage = 64, kQuestion = 40;
  EXPECT_LE(rows, prompts / 20 + 20 * (kPage + kQuestion));
}

TEST(Server, SurvivesClientsThatVanish) {
  ServeOptions options;
  options.parallel = 8;
  const auto server = StartServer(options);
  LoadOptions load;
  load.model = testing::SmallModelPath();
  auto model = LanguageModel::Load(load);
  // OCTET_VANISHING: how many, where there is more time.
  const char* const asked = std::getenv("OCTET_VANISHING");
  const int vanishing = asked == nullptr ? 200 : std::atoi(asked);
  const json steady = Completion(1, 200);
  const std::string expected = Expected(*model, steady);
  int read = 0;
  {
    std::jthread reader([&](const std::stop_token& stop) {
      json request = steady;
      request["stream"] = true;
      while (!stop.stop_requested()) {
        ++read;
        EXPECT_EQ(
            StreamedText(testing::Post(server->port(), "/v1/completions", request.dump()).body),
            expected);
      }
    });
    std::vector<std::jthread> clients;
    for (int thread = 0; thread < 4; ++thread) {
      clients.emplace_back([&, thread] {
        for (int i = 0; i < vanishing / 4; ++i) {
          json request = Completion(thread * vanishing / 4 + i, 400);
          request["stream"] = i % 4 != 0;
          HttpClient client(server->port());
          client.Send(testing::PostRequest("/v1/completions", request.dump()));
          if (i % 4 != 0) client.ReadUntil("data:");
          if (i % 2 == 0) client.Reset();
        }
      });
    }
  }
  EXPECT_GT(read, 0);
  RecordProperty("steady", read);
  // Each is cancelled as soon as its end is seen; nothing is left of them.
  for (int tries = 0; tries < 500; ++tries) {
    if (Metric(*server, "octet_requests_running") + Metric(*server, "octet_requests_waiting") ==
        0) {
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(Metric(*server, "octet_requests_running"), 0);
  EXPECT_EQ(
      Metric(*server, "octet_kv_pages_free") + Metric(*server, "octet_kv_pages_prefix_unused"),
      Metric(*server, "octet_kv_pages"));
  EXPECT_EQ(Metric(*server, "octet_kv_pages_prefix"),
            Metric(*server, "octet_kv_pages_prefix_unused"));
}

TEST(Server, TurnsAwayWhatItCannotUnderstand) {
  ServeOptions options;
  options.max_body_bytes = 4096;
  const auto server = StartServer(options);
  const auto status = [&](const std::string& bytes) {
    HttpClient client(server->port());
    client.Send(bytes);
    return client.Read().status;
  };
  const auto posted = [&](const std::string& body) {
    return testing::Post(server->port(), "/v1/chat/completions", body).status;
  };
  EXPECT_EQ(status("nonsense\r\n\r\n"), 400);
  EXPECT_EQ(status("GET / HTTP/1.1\r\n" + std::string(20000, 'a')), 431);
  EXPECT_EQ(status("GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n"), 404);
  EXPECT_EQ(status("GET //health HTTP/1.1\r\nHost: localhost\r\n\r\n"), 404);
  EXPECT_EQ(status("GET /v1/models/%2e%2e HTTP/1.1\r\nHost: localhost\r\n\r\n"), 404);
  for (const char* path : {"/health/", "/health%00", "/HEALTH", "/./health", "/v1/../health",
                           "/v1/models/../../etc/passwd", "/v1/models/..%2f..%2fetc%2fpasswd",
                           "/%2e%2e/%2e%2e/etc/passwd", "/..;/health", "\\\\x",
                           "http://localhost//health", "http:///health", "ftp://localhost/health",
                           "/v1//models", "/v1/models/\xc0\xae", "*", "/%"}) {
    EXPECT_EQ(status("GET " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n\r\n"), 404)
        << path;
  }
  EXPECT_EQ(status("DELETE /health HTTP/1.1\r\nHost: localhost\r\n\r\n"), 405);
  EXPECT_EQ(status("GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403);
  EXPECT_EQ(status("GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n"), 403);
  EXPECT_EQ(status("GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
  EXPECT_EQ(
      status("GET /health HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n"),
      403);
  EXPECT_EQ(posted(""), 400);
  EXPECT_EQ(posted("{"), 400);
  EXPECT_EQ(posted("[]"), 400);
  EXPECT_EQ(posted("{\"messages\": \"\xff\"}"), 400);
  EXPECT_EQ(posted(std::string(4000, '[')), 400);
  EXPECT_EQ(posted(std::string(5000, ' ')), 413);
  for (const char* number :
       {"-1", "0", "1e400", "-1e400", "99999999999999999999", "1.5", "\"1\""}) {
    const std::string body = R"({"messages": [{"role": "user", "content": "x"}], "max_tokens": )";
    EXPECT_EQ(posted(body + number + "}"), 400) << number;
  }
  EXPECT_EQ(posted(R"({"messages": [{"role": "user", "content": "x"}], "model": "gpt-9"})"), 404);
  EXPECT_EQ(posted(R"({"messages": [{"role": "user", "content": "x"}], "top_p": 1e308})"), 400);
  EXPECT_EQ(posted(R"({"messages": [{"role": "tool", "content": "x"}]})"), 400);
  // Two requests at once are answered in their order, and the connection stays.
  HttpClient client(server->port());
  const std::string get = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
  client.Send(get + "GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n" + get);
  EXPECT_EQ(client.Read().status, 200);
  EXPECT_EQ(client.Read().status, 404);
  EXPECT_EQ(client.Read().status, 200);
}

TEST(Server, AsksForAKeyWhereThereIsOne) {
  ServeOptions options;
  options.api_keys = {"first-key", "other-key"};
  std::mutex mutex;
  std::string log;
  options.access_log = [&](std::string_view line) {
    const std::lock_guard lock(mutex);
    log += std::string(line) + "\n";
  };
  {
    const auto server = StartServer(options);
    const uint16_t port = server->port();
    EXPECT_EQ(testing::Get(port, "/health").status, 200);
    EXPECT_EQ(testing::Get(port, "/v1/models").status, 401);
    EXPECT_EQ(testing::Get(port, "/v1/models", "Authorization: Bearer first-ke\r\n").status, 401);
    EXPECT_EQ(testing::Get(port, "/v1/models", "Authorization: Bearer first-key\r\n").status, 200);
    EXPECT_EQ(testing::Get(port, "/v1/models", "x-api-key: other-key\r\n").status, 200);
    EXPECT_EQ(testing::Get(port, "/none").status, 401) << "paths are told to those with a key";
  }
  EXPECT_THAT(log, HasSubstr("\"client\":\"key-2\""));
  EXPECT_THAT(log, ::testing::Not(HasSubstr("other-key")));
}

TEST(Server, RefusesAnOpenAddressWithoutAKey) {
  ServeOptions options;
  options.host = "0.0.0.0";
  options.port = 0;
  const auto server = Server::Start({}, options);
  ASSERT_FALSE(server);
  EXPECT_THAT(server.error().message, HasSubstr("--api-key"));
}

TEST(Server, RefusesMoreRequestsThanMayWait) {
  ServeOptions options;
  options.parallel = 1;
  options.max_waiting = 1;
  const auto server = StartServer(options);
  json request = Completion(1, 500);
  request["ignore_eos"] = true;
  request["n"] = 3;  // one more than there is room for: none of them is taken
  const HttpReply reply = testing::Post(server->port(), "/v1/completions", request.dump());
  EXPECT_EQ(reply.status, 429);
  EXPECT_EQ(reply.Header("retry-after"), "1");
  request["n"] = 1;
  request["max_tokens"] = 2;
  HttpReply again;
  for (int tries = 0; tries < 500; ++tries) {
    again = testing::Post(server->port(), "/v1/completions", request.dump());
    if (again.status != 429) break;
  }
  EXPECT_EQ(again.status, 200);
}

TEST(Server, CountsWhatItDoes) {
  const auto server = StartServer();
  const json usage =
      Parsed(testing::Post(server->port(), "/v1/completions", Completion(1, 9).dump()))["usage"];
  EXPECT_EQ(Metric(*server, "octet_generated_tokens_total"), usage["completion_tokens"]);
  EXPECT_EQ(Metric(*server, "octet_prompt_tokens_total"), usage["prompt_tokens"]);
  EXPECT_EQ(Metric(*server, "octet_batch_answers_sum"), usage["completion_tokens"]);
  EXPECT_GT(Metric(*server, "process_resident_memory_bytes"), 1 << 20);
  const json experts = Parsed(testing::Get(server->port(), "/v1/octet/experts"));
  const int per_layer = experts["experts"], layers = experts["layers"];
  ASSERT_GT(layers * per_layer, 0);
  // The answer's last token is not computed; nor, in the last layer, the prompt but for its end.
  const double rows = usage["total_tokens"].get<double>() - 1;
  const double last_rows = usage["completion_tokens"];
  for (int layer = 0; layer < layers; ++layer) {
    double of_layer = 0;
    for (int expert = 0; expert < per_layer; ++expert) {
      of_layer += Metric(*server, "octet_expert_rows_total{layer=\"" + std::to_string(layer) +
                                      "\",expert=\"" + std::to_string(expert) + "\"}");
    }
    EXPECT_EQ(of_layer,
              experts["experts_per_token"].get<double>() * (layer + 1 < layers ? rows : last_rows))
        << layer;
  }
}

TEST(Server, FinishesOpenAnswersWhenItDrains) {
  auto server = StartServer();
  json request = Completion(0, 300);
  request["stream"] = true;
  request["ignore_eos"] = true;
  HttpClient client(server->port());
  client.Send(testing::PostRequest("/v1/completions", request.dump()));
  ASSERT_TRUE(client.ReadUntil("data:"));
  server->Drain(60);
  EXPECT_THAT(client.Read().body, HasSubstr("\"finish_reason\":\"length\""));
}

TEST(Server, TellsOpenAnswersThatItStops) {
  const testing::TempFolder folder;
  for (const std::string& accounts : {std::string(), (folder / "accounts.db").string()}) {
    ServeOptions options;
    options.accounts = accounts;
    options.allow_open = true;
    auto server = StartServer(options);
    json request = Completion(0, 400);
    request["stream"] = true;
    request["ignore_eos"] = true;
    request["n"] = 8;
    HttpClient client(server->port());
    client.Send(testing::PostRequest("/v1/completions", request.dump()));
    ASSERT_TRUE(client.ReadUntil("data:"));
    server.reset();
    // Or they were quicker.
    EXPECT_THAT(client.Read().body,
                ::testing::AnyOf(HasSubstr("shutting down"), HasSubstr("[DONE]")));
  }
}

TEST(Server, SpeaksAnthropicsLanguage) {
  const auto server = StartServer();
  json request = {{"model", server->info().name},
                  {"max_tokens", 6},
                  {"temperature", 0},
                  {"messages", {{{"role", "user"}, {"content", "Once upon a time"}}}}};
  const json whole = Parsed(testing::Post(server->port(), "/v1/messages", request.dump()));
  EXPECT_EQ(whole["type"], "message");
  EXPECT_EQ(whole["stop_reason"], "max_tokens");
  EXPECT_EQ(whole["usage"]["output_tokens"], 6);
  const json count =
      Parsed(testing::Post(server->port(), "/v1/messages/count_tokens", request.dump()));
  EXPECT_EQ(count["input_tokens"], whole["usage"]["input_tokens"]);
  request["stream"] = true;
  const std::string body = testing::Post(server->port(), "/v1/messages", request.dump()).body;
  for (const char* event : {"message_start", "content_block_start", "content_block_delta",
                            "content_block_stop", "message_delta", "message_stop"}) {
    EXPECT_THAT(body, HasSubstr("event: " + std::string(event) + "\n"));
  }
}

TEST(Server, GivesVectorsOfLengthOne) {
  const auto server = StartServer();
  json request = {{"input", {"The dog ran.", "The dog ran.", "Lily was sad."}}};
  const json whole = Parsed(testing::Post(server->port(), "/v1/embeddings", request.dump()));
  ASSERT_EQ(whole["data"].size(), 3u);
  const auto vector = whole["data"][0]["embedding"].get<std::vector<double>>();
  double squares = 0;
  for (const double x : vector) squares += x * x;
  EXPECT_NEAR(squares, 1, 1e-5);  // a sum of squares of some hundred floats
  EXPECT_EQ(whole["data"][0]["embedding"], whole["data"][1]["embedding"]);
  EXPECT_NE(whole["data"][0]["embedding"], whole["data"][2]["embedding"]);
  request["encoding_format"] = "base64";
  const json packed = Parsed(testing::Post(server->port(), "/v1/embeddings", request.dump()));
  EXPECT_EQ(packed["data"][0]["embedding"].get<std::string>().size(),
            (vector.size() * 4 + 2) / 3 * 4);
  EXPECT_EQ(testing::Post(server->port(), "/v1/embeddings", R"({"input": [[]]})").status, 400);
}

TEST(Server, TurnsTextIntoTokensAndBack) {
  const auto server = StartServer();
  const json tokens = Parsed(testing::Post(
      server->port(), "/tokenize", R"({"content": "Once upon a time", "add_special": true})"));
  EXPECT_EQ(tokens["count"], tokens["tokens"].size());
  const json text = Parsed(
      testing::Post(server->port(), "/detokenize", json{{"tokens", tokens["tokens"]}}.dump()));
  EXPECT_EQ(text["content"], "Once upon a time");
  const json prompt = Parsed(testing::Post(server->port(), "/apply-template",
                                           R"({"messages": [{"role": "user", "content": "Hi"}]})"));
  EXPECT_THAT(prompt["prompt"].get<std::string>(), HasSubstr("Hi"));
}

}  // namespace
}  // namespace octet
