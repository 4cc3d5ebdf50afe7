// The load generator against a server of the same process.
#include "octet/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "octet/server.h"
#include "support/test_server.h"

namespace octet {
namespace {

using ::testing::HasSubstr;
using testing::StartServer;

LoadTestOptions Short(const Server& server) {
  LoadTestOptions options;
  options.url = server.url();
  options.concurrent = 6;
  options.seconds = 0.6;
  options.warm_up_s = 0;
  options.max_tokens = 24;
  return options;
}

TEST(Load, CountsEveryTokenOfEveryAnswer) {
  const auto server = StartServer();
  const LoadTestOptions options = Short(*server);
  const auto report = RunLoad(options);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->error_count(), 0);
  EXPECT_GT(report->answers, 0);
  EXPECT_GT(report->tokens, 0);
  EXPECT_LE(report->first_token.p50, report->first_token.p95);
  EXPECT_LE(report->gap.p95, report->gap.most);
  const auto json = nlohmann::json::parse(LoadReportJson(options, *report));
  EXPECT_EQ(json["answers"], report->answers);
  EXPECT_THAT(LoadReportSvg(options, *report), HasSubstr("6 chats at once"));
}

TEST(Load, CountsRefusalsAsErrorsOfTheirKind) {
  ServeOptions serve;
  serve.parallel = 1;
  serve.max_waiting = 0;
  const auto server = StartServer(serve);
  // On a busy machine nobody may get through in so short a time.
  LoadTestOptions options = Short(*server);
  auto report = RunLoad(options);
  for (; report && report->answers == 0 && options.seconds < 30; options.seconds *= 4) {
    report = RunLoad(options);
  }
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_GT(report->errors.at("HTTP 429"), 0);
  EXPECT_GT(report->answers, 0);
}

TEST(Load, SaysWhenThereIsNoServer) {
  LoadTestOptions options;
  options.url = "http://127.0.0.1:1";
  options.concurrent = 2;
  options.seconds = 30;
  const auto report = RunLoad(options);
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().message, HasSubstr("cannot connect"));
  for (const char* url : {"https://x", "127.0.0.1:80", "http://", "http://a:b"}) {
    options.url = url;
    EXPECT_FALSE(RunLoad(options)) << url;
  }
}

}  // namespace
}  // namespace octet
