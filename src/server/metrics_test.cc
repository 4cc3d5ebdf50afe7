#include "server/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <regex>
#include <set>

#include "base/file.h"

namespace octet {
namespace {

using ::testing::HasSubstr;

MetricsSources Everything() {
  MetricsSources sources;
  sources.model = "a \"model\"";
  sources.engine.steps = 4;
  for (const int64_t answers : {0, 1, 3, 9}) sources.engine.batches.Add(answers);
  sources.connections = 7;
  sources.ledger = LedgerStats{3, 2, 0.5};
  sources.n_experts = 2;
  sources.expert_load = {1, 2, 3, 4};
  return sources;
}

/// The names that can be asked for.
std::set<std::string> Names(const std::string& text) {
  std::set<std::string> names;
  const std::regex sample("(^|\n)([a-z_]+)[ {]");
  for (std::sregex_iterator at(text.begin(), text.end(), sample), end; at != end; ++at) {
    names.insert((*at)[2]);
  }
  return names;
}

TEST(Metrics, CountsBatchesAndExperts) {
  const std::string text = Metrics().Text(Everything());
  EXPECT_THAT(text, HasSubstr("octet_info{version=\"0.1.0\",model=\"a \\\"model\\\"\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("octet_batch_answers_bucket{le=\"0\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("octet_batch_answers_bucket{le=\"2\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("octet_batch_answers_bucket{le=\"4\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("octet_batch_answers_bucket{le=\"8\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("octet_batch_answers_bucket{le=\"16\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("octet_batch_answers_sum 13\n"));
  EXPECT_THAT(text, HasSubstr("octet_expert_rows_total{layer=\"1\",expert=\"0\"} 3\n"));
  EXPECT_EQ(text.find("process_resident_memory_bytes 0\n"), std::string::npos);
}

TEST(Metrics, KnowsThe95thPercentileToAFifth) {
  // Times between tokens as they are: a normal step, sometimes one with a prompt in it.
  std::mt19937 random(3);
  std::lognormal_distribution<double> steps(std::log(0.03), 0.5);
  Metrics metrics;
  std::vector<double> values(20'000);
  for (double& value : values) metrics.NextToken(value = steps(random));
  const std::string text = metrics.Text({});
  std::ranges::sort(values);
  const auto n = static_cast<double>(values.size());
  const double exact = values[static_cast<size_t>(0.95 * n)];
  // As Prometheus' histogram_quantile does: linear within the bucket.
  double below = 0, below_count = 0, estimate = -1;
  const std::regex bucket("octet_inter_token_seconds_bucket\\{le=\"([0-9.]+)\"\\} ([0-9]+)\n");
  for (std::sregex_iterator at(text.begin(), text.end(), bucket), end; at != end; ++at) {
    const double bound = std::stod((*at)[1]), count = std::stod((*at)[2]);
    if (estimate < 0 && count >= 0.95 * n) {
      estimate = below + (bound - below) * (0.95 * n - below_count) / (count - below_count);
    }
    below = bound;
    below_count = count;
  }
  EXPECT_GT(estimate, exact / 1.2);
  EXPECT_LT(estimate, exact * 1.2);
}

TEST(Metrics, HasAllThatTheDashboardShows) {
  const auto file = ReadTextFile(OCTET_SOURCE_DIR "/packaging/grafana/octet.json");
  ASSERT_TRUE(file) << file.error().message;
  const auto dashboard = nlohmann::json::parse(*file);
  Metrics metrics;
  metrics.RequestDone("/health", 200, 0.1);
  const std::set<std::string> names = Names(metrics.Text(Everything()));
  int used = 0;
  const auto check = [&](const std::string& expression) {
    const std::regex name("(octet|process)_[a-z_]+");
    for (std::sregex_iterator at(expression.begin(), expression.end(), name), end; at != end;
         ++at) {
      EXPECT_TRUE(names.contains(at->str())) << at->str() << " in " << expression;
      ++used;
    }
  };
  for (const auto& panel : dashboard["panels"]) {
    for (const auto& target : panel["targets"]) check(target["expr"]);
  }
  check(dashboard["templating"]["list"][1]["query"]);
  EXPECT_GT(used, 30);
}

}  // namespace
}  // namespace octet
