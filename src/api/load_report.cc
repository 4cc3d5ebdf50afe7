// A load test's results as text, JSON and a picture.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/svg.h"
#include "octet/load.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;

Json QuantilesJson(const Quantiles& q) {
  return {{"p50", q.p50}, {"p95", q.p95}, {"p99", q.p99}, {"max", q.most}};
}

std::string Milliseconds(const Quantiles& q) {
  return fmt::format("p50 {:.1f}  p95 {:.1f}  p99 {:.1f}  max {:.1f} ms", 1e3 * q.p50, 1e3 * q.p95,
                     1e3 * q.p99, 1e3 * q.most);
}

}  // namespace

std::string LoadReportText(const LoadReport& r) {
  std::string text = fmt::format(
      "{} answers, {} errors in {:.0f} s\n"
      "{:.0f} tokens/s in all ({} tokens, {:.1f} in a piece)\n"
      "first token     {}\n"
      "between pieces  {}\n",
      r.answers, r.error_count(), r.seconds, r.tokens_per_s, r.tokens, r.tokens_per_piece,
      Milliseconds(r.first_token), Milliseconds(r.gap));
  for (const auto& [kind, count] : r.errors) text += fmt::format("{} times: {}\n", count, kind);
  return text;
}

std::string LoadReportJson(const LoadTestOptions& options, const LoadReport& r) {
  Json json = {{"url", options.url},
               {"concurrent", options.concurrent},
               {"max_tokens", options.max_tokens},
               {"seconds", r.seconds},
               {"answers", r.answers},
               {"errors", r.errors},
               {"tokens", r.tokens},
               {"prompt_tokens", r.prompt_tokens},
               {"tokens_per_second", r.tokens_per_s},
               {"tokens_per_piece", r.tokens_per_piece},
               {"first_token_seconds", QuantilesJson(r.first_token)},
               {"gap_seconds", QuantilesJson(r.gap)},
               {"each_second", r.each_second}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string LoadReportSvg(const LoadTestOptions& options, const LoadReport& r) {
  constexpr double kWidth = 720, kHeight = 360;
  svg::Series series;
  for (size_t s = 0; s < r.each_second.size(); ++s) {
    series.x.push_back(static_cast<double>(s) + 0.5);
    series.y.push_back(r.each_second[s]);
  }
  svg::Chart chart;
  chart.left = 70;
  chart.top = 60;
  chart.width = kWidth - 100;
  chart.height = kHeight - 160;
  chart.title = fmt::format("{} chats at once: {:.0f} tokens/s, {} errors", options.concurrent,
                            r.tokens_per_s, r.error_count());
  chart.below = "seconds";
  chart.from_zero = true;
  chart.series = {series};
  return svg::Document(
      kWidth, kHeight,
      svg::LineChart(chart) +
          svg::Small(70, kHeight - 42, "start", "first token: " + Milliseconds(r.first_token)) +
          svg::Small(70, kHeight - 22, "start", "between pieces: " + Milliseconds(r.gap)));
}

}  // namespace octet
