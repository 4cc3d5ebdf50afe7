// A benchmark's report as a picture: three panels side by side.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/svg.h"
#include "octet/bench.h"

namespace octet {
namespace {

// In SVG's pixels. A panel is a square of axes with room for labels around it.
constexpr double kPanelWidth = 300, kPanelHeight = 230, kGap = 60, kLeft = 58, kTop = 96;
constexpr double kWidth = kLeft + 3 * kPanelWidth + 2 * kGap + 24,
                 kHeight = kTop + kPanelHeight + 84;

using svg::kBlue, svg::kGrey, svg::kInk, svg::kLine, svg::kPale;
using svg::NiceStep, svg::Short, svg::Small, svg::Text;

struct Bar {
  std::string label;   // below the axis
  double value = 0;    // tokens/s
  double allowed = 0;  // drawn behind it, where it is not 0
  std::string note;    // above the value
};

std::string Panel(int index, std::string_view title, std::string_view below,
                  const std::vector<Bar>& bars) {
  if (bars.empty()) return "";
  const double left = kLeft + index * (kPanelWidth + kGap), bottom = kTop + kPanelHeight;
  double most = 1e-9;
  for (const Bar& bar : bars) most = std::max({most, bar.value, bar.allowed});
  const double tick = NiceStep(most * 1.12 / 5), top = tick * std::ceil(most * 1.12 / tick);
  const auto y_of = [&](double value) { return bottom - value / top * kPanelHeight; };

  std::string svg = svg::Title(left, kTop - 18, title);
  for (double value = 0; value <= top * 1.001; value += tick) {
    svg += fmt::format(
        "<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", left,
        left + kPanelWidth, y_of(value), y_of(value), value == 0 ? kGrey : kLine);
    svg += Small(left - 6, y_of(value) + 4, "end", Short(value));
  }
  const double pitch = kPanelWidth / static_cast<double>(bars.size());
  const double width = std::min(0.66 * pitch, 64.0);
  double x = left + pitch / 2;
  for (const Bar& bar : bars) {
    const auto rect = [&](double w, double value, const char* fill) {
      return fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"2\" "
          "fill=\"{}\"/>\n",
          x - w / 2, y_of(value), w, bottom - y_of(value), fill);
    };
    if (bar.allowed > 0) svg += rect(width, bar.allowed, kPale);
    svg += rect(bar.allowed > 0 ? 0.6 * width : width, bar.value, kBlue);
    const double above = y_of(std::max(bar.value, bar.allowed)) - 6;
    svg += Text(x, above, "middle", fmt::format("font-size=\"11\" fill=\"{}\"", kInk),
                Short(bar.value));
    if (!bar.note.empty()) svg += Small(x, bottom + 32, "middle", bar.note);
    svg += Text(x, bottom + 17, "middle", fmt::format("font-size=\"12\" fill=\"{}\"", kInk),
                bar.label);
    x += pitch;
  }
  return svg + Small(left + kPanelWidth / 2, bottom + 54, "middle", below);
}

std::string Percent(double share) { return share > 0 ? fmt::format("{:.0f} %", share * 100) : ""; }

std::vector<Bar> BarsOf(const BenchReport& report, BenchKind kind) {
  std::vector<Bar> bars;
  for (const BenchFigure& f : report.figures) {
    if (f.kind != kind) continue;
    Bar bar{"", f.tokens_per_s, 0, ""};
    if (kind == BenchKind::kPrompt) {
      bar.label =
          f.depth > 0 ? fmt::format("{} at {}", f.tokens, f.depth) : std::to_string(f.tokens);
      bar.note = Percent(f.peak_share);
    } else if (kind == BenchKind::kDecode) {
      bar.label = std::to_string(f.depth);
      bar.allowed = f.allowed_tokens_per_s;
      bar.note = Percent(f.allowed_share);
    } else {
      bar.label = std::to_string(f.batch);
      bar.allowed = f.allowed_tokens_per_s;
      bar.note = Percent(f.allowed_share);
    }
    bars.push_back(std::move(bar));
  }
  return bars;
}

std::string PromptCaption(const BenchReport& report) {
  for (const BenchFigure& f : report.figures) {
    if (f.kind == BenchKind::kPrompt && !f.peak.empty())
      return fmt::format("tokens of the prompt; share of {}", f.peak);
  }
  return "tokens of the prompt";
}

std::string LimitsLine(const BenchReport& report) {
  std::string line = "Measured between the steps (medians):";
  for (const BenchLimit& limit : report.limits) {
    if (limit.name.find("loaded") != std::string::npos) continue;  // too long a line
    const bool bytes = limit.unit == "B/s";
    line += fmt::format("{} {} {} {}", line.back() == ':' ? "" : ";", limit.name,
                        Short(limit.median / (bytes ? 1e9 : 1e12)), bytes ? "GB/s" : "Top/s");
  }
  return line;
}

}  // namespace

std::string BenchSvg(const BenchReport& report) {
  std::string svg;
  svg +=
      Text(20, 30, "start", fmt::format("font-size=\"18\" font-weight=\"600\" fill=\"{}\"", kInk),
           fmt::format("{}: tokens per second", report.model));
  svg +=
      Small(20, 50, "start",
            fmt::format("{} threads, {}; weights {:.2f} GB, {}; keys and values {}; median of {}",
                        report.threads, report.isa, static_cast<double>(report.weight_bytes) / 1e9,
                        report.layout, report.kv_type, report.repetitions));
  svg += Panel(0, "Prompt", PromptCaption(report), BarsOf(report, BenchKind::kPrompt));
  svg += Panel(1, "One sequence, by depth", "tokens before; pale: what the limits allow",
               BarsOf(report, BenchKind::kDecode));
  svg += Panel(2, "Sequences together", "sequences; pale: what the limits allow",
               BarsOf(report, BenchKind::kBatch));
  svg += Small(20, kHeight - 8, "start", LimitsLine(report));
  return svg::Document(kWidth, kHeight, svg);
}

}  // namespace octet
