#include "base/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace octet::svg {
namespace {

// Told apart by hue and by lightness.
constexpr std::array<const char*, 8> kColours = {"#2563a8", "#d97706", "#2f855a", "#b83280",
                                                 "#6b46c1", "#0e7490", "#92400e", "#475569"};

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

struct Range {
  double low = std::numeric_limits<double>::infinity(),
         high = -std::numeric_limits<double>::infinity();
  void Take(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

/// One axis: values to a place between 0 and 1, and where its lines are.
struct Axis {
  double low = 0, high = 1;
  bool logarithmic = false;
  std::vector<double> ticks;

  double At(double value) const {
    if (logarithmic) return std::log(value / low) / std::log(high / low);
    return (value - low) / (high - low);
  }
};

Axis LinearAxis(Range range, int lines) {
  if (range.high - range.low < 1e-12 * std::max(1.0, std::abs(range.high))) range.high += 1;
  const double step = NiceStep((range.high - range.low) / lines);
  Axis axis;
  axis.low = step * std::floor(range.low / step + 1e-9);
  axis.high = step * std::ceil(range.high / step - 1e-9);
  const auto count = std::lround((axis.high - axis.low) / step);
  for (long i = 0; i <= count; ++i) axis.ticks.push_back(axis.low + static_cast<double>(i) * step);
  return axis;
}

Axis LogAxis(const Range& range) {
  Axis axis{range.low / 1.05, range.high * 1.05, true, {}};
  for (double power = std::pow(10, std::floor(std::log10(axis.low))); power < axis.high;
       power *= 10) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      if (power * factor >= axis.low && power * factor <= axis.high)
        axis.ticks.push_back(power * factor);
    }
  }
  return axis;
}

std::string Line(double x1, double y1, double x2, double y2, const char* colour) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1, y1, x2,
      y2, colour);
}

/// Colour and dashes; what comes after the last colour has the first again, dashed.
struct Stroke {
  const char* colour;
  const char* dashes;
};

Stroke StrokeOf(const Series& series, size_t place) {
  if (series.reference) return {kGrey, "5 4"};
  return {kColours[place % kColours.size()], place < kColours.size() ? "none" : "2 2"};
}

std::string Curve(const Chart& chart, const Series& series, const Axis& x, const Axis& y,
                  Stroke stroke) {
  std::string points, dots;
  for (size_t i = 0; i < series.x.size(); ++i) {
    if (!std::isfinite(series.y[i])) continue;
    const double px = chart.left + x.At(series.x[i]) * chart.width,
                 py = chart.top + (1 - y.At(series.y[i])) * chart.height;
    points += fmt::format("{:.1f},{:.1f} ", px, py);
    if (series.dots)
      dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2\" fill=\"{}\"/>\n", px, py,
                          stroke.colour);
  }
  return fmt::format(
             "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.4\" "
             "stroke-dasharray=\"{}\" stroke-linejoin=\"round\"/>\n",
             points, stroke.colour, stroke.dashes) +
         dots;
}

/// A stroke and a name at a height; beside the axes the stroke stands first.
std::string LegendEntry(const Chart& chart, double y, Stroke stroke, const std::string& name) {
  const double right = chart.left + chart.width;
  const double x = chart.legend_beside ? right + 12 : right - 16;
  const double text = chart.legend_beside ? x + 22 : x - 6;
  return fmt::format(
             "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" "
             "stroke-width=\"3\" stroke-dasharray=\"{}\"/>\n",
             x, y - 4, x + 16, y - 4, stroke.colour, stroke.dashes) +
         Small(text, y, chart.legend_beside ? "start" : "end", name);
}

std::string Frame(const Chart& chart, const Axis& x, const Axis& y) {
  const double bottom = chart.top + chart.height;
  std::string svg;
  for (const double tick : y.ticks) {
    const double py = bottom - y.At(tick) * chart.height;
    svg += Line(chart.left, py, chart.left + chart.width, py, kLine);
    svg += Small(chart.left - 6, py + 4, "end", Short(tick));
  }
  for (const double tick : x.ticks) {
    const double px = chart.left + x.At(tick) * chart.width;
    svg += Line(px, bottom, px, bottom + 4, kGrey);
    svg += Small(px, bottom + 17, "middle", Short(tick));
  }
  svg += Line(chart.left, bottom, chart.left + chart.width, bottom, kGrey);
  return svg + Small(chart.left + chart.width / 2, bottom + 34, "middle", chart.below);
}

}  // namespace

std::string Document(double width, double height, std::string_view body) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" font-family=\"Helvetica, Arial, sans-serif\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{2}</svg>\n",
      width, height, body);
}

std::string Text(double x, double y, std::string_view anchor, std::string_view style,
                 std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" {}>{}</text>\n", x, y,
                     anchor, style, Escaped(text));
}

std::string Small(double x, double y, std::string_view anchor, std::string_view text) {
  return Text(x, y, anchor, fmt::format("font-size=\"11\" fill=\"{}\"", kGrey), text);
}

std::string Title(double x, double y, std::string_view text) {
  return Text(x, y, "start", fmt::format("font-size=\"14\" font-weight=\"600\" fill=\"{}\"", kInk),
              text);
}

std::string Short(double value) {
  const double size = std::abs(value);
  if (size >= 1e6) return fmt::format("{:.4g}M", value / 1e6);
  if (size >= 1000) return fmt::format("{:.0f}", value);
  return fmt::format("{:.3g}", size < 1e-12 ? 0.0 : value);
}

double NiceStep(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  for (const double factor : {1.0, 2.0, 2.5, 5.0}) {
    if (factor * power >= value * 0.999) return factor * power;
  }
  return 10 * power;
}

std::string Shade(double share) {
  const auto mix = [&](int pale, int dark) {
    return static_cast<int>(std::lround(pale + (dark - pale) * std::clamp(share, 0.0, 1.0)));
  };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(247, 8), mix(251, 69), mix(255, 148));
}

std::string LineChart(const Chart& chart) {
  Range across, up;
  for (const Series& s : chart.series) {
    for (size_t i = 0; i < s.x.size(); ++i) {
      if (!std::isfinite(s.y[i])) continue;
      across.Take(s.x[i]);
      up.Take(s.y[i]);
    }
  }
  std::string svg = Title(chart.left, chart.top - 14, chart.title);
  if (across.high < across.low) return svg;
  if (chart.from_zero) up.Take(0);
  const Axis x = LinearAxis(across, 5),
             y = chart.logarithmic && up.low > 0 ? LogAxis(up) : LinearAxis(up, 5);
  svg += Frame(chart, x, y);
  double legend = chart.top + 12;
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const Series& s = chart.series[i];
    if (s.x.empty()) continue;
    const Stroke stroke = StrokeOf(s, i);
    svg += Curve(chart, s, x, y, stroke);
    if (s.name.empty()) continue;
    svg += LegendEntry(chart, legend, stroke, s.name);
    legend += 15;
  }
  return svg;
}

}  // namespace octet::svg
