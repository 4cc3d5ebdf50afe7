#include "api/train_curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/svg.h"

namespace octet {
namespace {

using nlohmann::json;

// Pixels. Two charts side by side, heat maps below over the whole width.
constexpr double kWidth = 960, kLeft = 64, kChartWidth = 380, kChartHeight = 190, kPitch = 470,
                 kRow = 280, kTop = 96;
constexpr double kBandCell = 11, kBandGap = 14;  // height of an expert; between layers
constexpr size_t kPoints = 400, kColumns = 120;  // of a curve; of a heat map

/// What a run's lines say, thinned to what a picture shows.
struct Metrics {
  std::vector<double> step;
  std::map<std::string, std::vector<double>> of;       // by key
  std::map<std::string, svg::Series> held_out;         // bits a byte, or the loss
  std::vector<std::vector<std::vector<double>>> load;  // [update][layer][expert]
  bool bits = false, judged = false;  // the latter: of preferences, whose loss is no token's
};

/// NaN where there is none: JSON has null for what was not finite.
double NumberOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : std::nan("");
}

void Take(const json& line, Metrics& m) {
  m.step.push_back(line.value("step", 0.0));
  for (const char* key : {"loss", "rate", "grad_norm", "tokens_per_s"})
    m.of[key].push_back(NumberOf(line, key));
  m.judged = m.judged || line.contains("accuracy");
  if (const auto found = line.find("held_out"); found != line.end()) {
    for (const auto& [name, loss] : found->items()) {
      const char* key = loss.contains("bits_per_byte") ? "bits_per_byte" : "loss";
      if (std::isnan(NumberOf(loss, key))) continue;
      svg::Series& series = m.held_out[name];
      series.name = name;
      series.dots = true;
      m.bits = m.bits || loss.contains("bits_per_byte");
      series.x.push_back(m.step.back());
      series.y.push_back(NumberOf(loss, key));
    }
  }
  if (const auto found = line.find("load"); found != line.end())
    m.load.push_back(found->get<std::vector<std::vector<double>>>());
}

/// At most kPoints means of neighbouring updates, of those that have a value.
svg::Series Thinned(const std::vector<double>& x, const std::vector<double>& y) {
  svg::Series series;
  const size_t points = std::min(kPoints, x.size());
  for (size_t i = 0; i < points; ++i) {
    const size_t first = i * x.size() / points, last = (i + 1) * x.size() / points;
    double sum = 0, count = 0;
    for (size_t j = first; j < last; ++j) {
      if (std::isnan(y[j])) continue;
      sum += y[j];
      count += 1;
    }
    if (count == 0) continue;
    series.x.push_back(x[(first + last - 1) / 2]);
    series.y.push_back(sum / count);
  }
  return series;
}

svg::Chart ChartAt(int column, int row, const char* title) {
  svg::Chart chart;
  chart.left = kLeft + column * kPitch;
  chart.top = kTop + row * kRow;
  chart.width = kChartWidth;
  chart.height = kChartHeight;
  chart.title = title;
  chart.below = "updates";
  return chart;
}

std::string Curves(const Metrics& m) {
  svg::Chart loss = ChartAt(0, 0, m.judged ? "Loss of the objective" : "Loss, nats a token");
  loss.series = {Thinned(m.step, m.of.at("loss"))};
  svg::Chart held_out = ChartAt(1, 0,
                                m.bits     ? "Held out, bits a byte"
                                : m.judged ? "Held out, loss of the objective"
                                           : "Held out, nats a token");
  for (const auto& [name, series] : m.held_out) held_out.series.push_back(series);
  svg::Chart rate = ChartAt(0, 1, "Learning rate");
  rate.from_zero = true;
  rate.series = {Thinned(m.step, m.of.at("rate"))};
  svg::Chart norm = ChartAt(1, 1, "Norm of the gradient");
  norm.logarithmic = true;
  norm.series = {Thinned(m.step, m.of.at("grad_norm"))};
  svg::Chart speed = ChartAt(0, 2, "Tokens a second");
  speed.from_zero = true;
  speed.series = {Thinned(m.step, m.of.at("tokens_per_s"))};
  std::string svg;
  for (const svg::Chart* chart : {&loss, &held_out, &rate, &norm, &speed})
    svg += svg::LineChart(*chart);
  return svg;
}

/// One layer's load: experts down, updates across; white is none, dark twice an even share.
std::string Band(const Metrics& m, size_t layer, double top) {
  const size_t experts = m.load.front()[layer].size();
  const size_t columns = std::min(kColumns, m.load.size());
  const double width = (kWidth - kLeft - 26) / static_cast<double>(columns);
  std::string svg = svg::Small(kLeft - 8, top + 0.5 * kBandCell * static_cast<double>(experts) + 4,
                               "end", fmt::format("layer {}", layer));
  double even = 0;  // the experts of a token, shared evenly
  for (const double share : m.load.back()[layer]) even += share / static_cast<double>(experts);
  for (size_t c = 0; c < columns; ++c) {
    const size_t first = c * m.load.size() / columns, last = (c + 1) * m.load.size() / columns;
    for (size_t e = 0; e < experts; ++e) {
      double share = 0;
      for (size_t i = first; i < last; ++i)
        share += m.load[i][layer][e] / static_cast<double>(last - first);
      svg += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{:.1f}\" fill=\"{}\"/>\n",
          kLeft + static_cast<double>(c) * width, top + kBandCell * static_cast<double>(e),
          width + 0.3, kBandCell - 1, svg::Shade(share / (2 * even)));
    }
  }
  return svg;
}

std::string LoadMaps(const Metrics& m, double top, double& bottom) {
  const size_t layers = m.load.front().size(), experts = m.load.front().front().size();
  const double height = kBandCell * static_cast<double>(experts) + kBandGap;
  std::string svg = svg::Title(
      kLeft, top - 14,
      "Load of the experts of each layer over the run (white: none, dark: twice an even share)");
  for (size_t layer = 0; layer < layers; ++layer)
    svg += Band(m, layer, top + static_cast<double>(layer) * height);
  bottom = top + static_cast<double>(layers) * height;
  return svg;
}

}  // namespace

Result<std::string> TrainCurvesSvg(const std::filesystem::path& metrics, const std::string& title) {
  std::ifstream file(metrics);
  if (!file) return Err(ErrorCode::kNotFound, "{}: cannot be read", metrics.string());
  Metrics m;
  for (std::string line; std::getline(file, line);) {
    const json object = json::parse(line, nullptr, false);
    if (object.is_object()) Take(object, m);
  }
  if (m.step.empty()) return Err(ErrorCode::kCorrupt, "{}: holds no update", metrics.string());
  double bottom = kTop + 3 * kRow;
  std::string body =
      svg::Text(20, 34, "start",
                fmt::format("font-size=\"18\" font-weight=\"600\" fill=\"{}\"", svg::kInk), title);
  body += Curves(m);
  if (!m.load.empty()) body += LoadMaps(m, bottom, bottom);
  return svg::Document(kWidth, bottom, body);
}

}  // namespace octet
