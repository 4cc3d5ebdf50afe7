// A study of experts as a picture.
#include <fmt/format.h>

#include "base/svg.h"
#include "octet/experts.h"

namespace octet {
namespace {

// Pixels. Heat maps stand three in a row.
constexpr double kLeft = 96, kTop = 92, kCell = 26, kCellHeight = 18, kGap = 34, kRowGap = 46;
constexpr int32_t kColumns = 3;
constexpr double kChartHeight = 220, kLegend = 110;

/// One layer: texts down, experts across; the number is the share of the tokens in percent.
std::string HeatMap(const ExpertStudy& study, int32_t layer, double left, double top, bool named) {
  std::string svg = svg::Small(left, top - 6, "start", fmt::format("layer {}", layer));
  const double even = static_cast<double>(study.experts_per_token) / study.experts;
  const size_t first = static_cast<size_t>(layer) * static_cast<size_t>(study.experts);
  for (size_t d = 0; d < study.domains.size(); ++d) {
    const double y = top + kCellHeight * static_cast<double>(d);
    if (named) svg += svg::Small(left - 8, y + 13, "end", study.domains[d].name);
    for (int32_t e = 0; e < study.experts; ++e) {
      const double share = study.domains[d].load[first + static_cast<size_t>(e)];
      const double x = left + kCell * e;
      svg += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n", x,
          y, kCell - 1, kCellHeight - 1, svg::Shade(share / (2 * even)));
      svg += svg::Text(
          x + kCell / 2 - 0.5, y + 12.5, "middle",
          fmt::format("font-size=\"9\" fill=\"{}\"", share > even * 1.2 ? "#ffffff" : svg::kInk),
          fmt::format("{:.0f}", 100 * share));
    }
  }
  return svg;
}

/// `any`: the right one of the two charts, whose legend serves both.
svg::Chart Repetitions(const ExpertStudy& study, const char* title, bool any) {
  svg::Chart chart;
  chart.title = title;
  chart.below = "layer";
  chart.from_zero = true;
  chart.height = kChartHeight;
  chart.legend_beside = true;
  for (const ExpertDomain& domain : study.domains) {
    svg::Series series;
    series.name = any ? domain.name : "";
    series.y = any ? domain.same_any : domain.same_first;
    series.dots = true;
    for (size_t layer = 0; layer < series.y.size(); ++layer)
      series.x.push_back(static_cast<double>(layer));
    chart.series.push_back(std::move(series));
  }
  svg::Series random;
  random.name = any ? "at random" : "";
  random.reference = true;
  for (int32_t layer = 0; layer < study.layers; ++layer) {
    random.x.push_back(layer);
    random.y.push_back(any ? study.random_any : study.random_first);
  }
  chart.series.push_back(std::move(random));
  return chart;
}

}  // namespace

std::string ExpertStudySvg(const ExpertStudy& study, const std::string& title) {
  const double map_width = kCell * study.experts + kGap;
  const double map_height = kCellHeight * static_cast<double>(study.domains.size()) + kRowGap;
  const int32_t rows = (study.layers + kColumns - 1) / kColumns;
  const double width = kLeft + kColumns * map_width + kLegend;
  std::string body =
      svg::Text(20, 34, "start",
                fmt::format("font-size=\"18\" font-weight=\"600\" fill=\"{}\"", svg::kInk), title);
  body += svg::Small(20, 54, "start",
                     "Share of the tokens of each text that go to each expert, in percent");
  for (int32_t layer = 0; layer < study.layers; ++layer) {
    const int32_t column = layer % kColumns, row = layer / kColumns;
    body += HeatMap(study, layer, kLeft + column * map_width, kTop + row * map_height, column == 0);
  }
  const double charts = kTop + rows * map_height + 24;
  svg::Chart first = Repetitions(study, "Same first choice as the token before", false);
  svg::Chart any = Repetitions(study, "Some choice in common with the token before", true);
  const double half = (width - kLegend) / 2;
  first.left = 64;
  any.left = half + 40;
  first.top = any.top = charts;
  first.width = any.width = half - 90;
  body += svg::LineChart(first) + svg::LineChart(any);
  return svg::Document(width, charts + kChartHeight + 52, body);
}

}  // namespace octet
