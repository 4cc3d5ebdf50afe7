// The reports of octet/bench.h: what is in them, not how fast anything is.
#include "octet/bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace octet {
namespace {

using ::testing::HasSubstr;

BenchOptions Quick() {
  BenchOptions options;
  options.synthetic = "tiny-moe";
  options.type = "q8_0";
  options.prompts = {16};
  options.prompt_depths = {64};
  options.depths = {0, 128};
  options.batches = {1, 4};
  options.repetitions = 1;
  options.sample_s = 0;
  return options;
}

TEST(Bench, ReportsEveryFigureBesideTheLimits) {
  int64_t steps = 0;
  const auto report =
      RunBench(Quick(), [&](const std::string&, int64_t, int64_t total) { steps = total; });
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(steps, 6);
  EXPECT_EQ(report->layers, 2);
  EXPECT_GT(report->load_peak_memory_bytes, 0);
  ASSERT_FALSE(report->limits.empty());
  EXPECT_EQ(report->limits[0].name, "memory read");
  for (const BenchLimit& limit : report->limits) {
    EXPECT_LE(limit.min, limit.median);
    EXPECT_LE(limit.median, limit.max);
  }
  ASSERT_EQ(report->figures.size(), 6u);
  EXPECT_EQ(report->figures[1].name, "prompt 512 at 64");
  EXPECT_EQ(report->figures[2].kv_cost, 0);  // what the others are compared with
  EXPECT_NE(report->figures[3].kv_cost, 0);
  EXPECT_EQ(report->figures[4].experts_per_layer, 2);
  EXPECT_GT(report->figures[5].experts_per_layer, 2);
  for (const BenchFigure& figure : report->figures) {
    EXPECT_GT(figure.tokens_per_s, 0) << figure.name;
    EXPECT_GT(figure.allowed_tokens_per_s, 0) << figure.name;
  }
  const auto json = nlohmann::json::parse(BenchJson(*report));
  EXPECT_EQ(json["figures"].size(), 6u);
  EXPECT_EQ(json["figures"][5]["batch"], 4);
  EXPECT_EQ(json["limits"][0]["unit"], "B/s");
}

TEST(Bench, ProfileTellsWhereTheTimeOfAStepGoes) {
  BenchOptions options = Quick();
  options.prompts = {16};
  options.prompt_depths = {};
  options.batches = {};
  EXPECT_TRUE(RunBench(options)->figures[0].parts.empty());
  options.profile = true;
  const auto report = RunBench(options);
  ASSERT_TRUE(report) << report.error().message;
  for (const BenchFigure& figure : report->figures) {
    double share = 0, outside = 0, seconds = 0;
    for (const BenchPart& part : figure.parts) {
      EXPECT_GE(part.share, part.outside_share) << part.name;
      EXPECT_GE(part.outside_share, 0) << part.name;
      share += part.share;
      outside += part.outside_share;
      seconds += part.seconds;
    }
    EXPECT_NEAR(share, 1, 1e-9);
    EXPECT_NEAR(outside, figure.outside_share, 1e-9);
    EXPECT_LT(figure.outside_share, 1);
    EXPECT_GT(seconds, 0);
    EXPECT_EQ(figure.parts.front().name, "embedding");
    EXPECT_EQ(figure.parts.back().name, "other");
  }
  const auto json = nlohmann::json::parse(BenchJson(*report));
  EXPECT_EQ(json["figures"][0]["parts"][1]["name"], "norm");
  EXPECT_TRUE(json["figures"][0].contains("outside_kernels_share"));
}

TEST(Bench, SkipsWhatIsNotAskedForAndRefusesNonsense) {
  BenchOptions options = Quick();
  options.prompts = options.prompt_depths = {};
  options.depths = {-1};
  options.batches = {0};
  const auto nothing = RunBench(options);
  ASSERT_FALSE(nothing);
  EXPECT_THAT(nothing.error().message, HasSubstr("nothing to measure"));
  options.depths = {-2};
  EXPECT_FALSE(RunBench(options));
  options = Quick();
  options.kv_type = "q17";
  EXPECT_FALSE(RunBench(options));
}

TEST(Bench, DrawsAPictureWhoseTextIsEscaped) {
  BenchReport report;
  report.model = "a<b>&c";
  BenchFigure figure;
  figure.tokens_per_s = 12.5;
  for (const BenchKind kind : {BenchKind::kPrompt, BenchKind::kDecode, BenchKind::kBatch}) {
    figure.kind = kind;
    report.figures.push_back(figure);
  }
  const std::string svg = BenchSvg(report);
  EXPECT_THAT(svg, HasSubstr("a&lt;b>&amp;c"));
  EXPECT_THAT(svg, HasSubstr(">12.5</text>"));
  EXPECT_THAT(svg, ::testing::EndsWith("</svg>\n"));
}

}  // namespace
}  // namespace octet
