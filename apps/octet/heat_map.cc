#include "heat_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace octet::app {
namespace {

constexpr int kCellWidth = 52, kCellHeight = 20;
constexpr int kLeft = 64, kTop = 56, kMargin = 16;

/// From pale to dark: few to many. Light enough below a half for black text.
std::string Colour(double share) {
  const auto mix = [&](int pale, int dark) {
    return static_cast<int>(std::lround(pale + (dark - pale) * share));
  };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(247, 8), mix(251, 69), mix(255, 148));
}

int64_t Value(const HeatMap& map, int64_t row, int64_t col) {
  return map.values[static_cast<size_t>(row * map.cols + col)];
}

std::string Cell(const HeatMap& map, int32_t row, int32_t col, double share) {
  const int64_t value = Value(map, row, col);
  const int x = kLeft + col * kCellWidth, y = kTop + row * kCellHeight;
  const bool is_short = value < map.least;
  return fmt::format(
      "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\" stroke=\"{}\"><title>layer "
      "{} "
      "expert {}: {} tokens</title></rect>\n"
      "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"{}\">{}</text>\n",
      x, y, kCellWidth - 1, kCellHeight - 1, Colour(share), is_short ? "#c00" : "none", row, col,
      value, x + kCellWidth / 2, y + kCellHeight - 6, share > 0.5 ? "#fff" : "#000", value);
}

}  // namespace

std::string HeatMapSvg(const HeatMap& map) {
  const int width = kLeft + map.cols * kCellWidth + kMargin;
  const int height = kTop + map.rows * kCellHeight + kMargin;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\" font-family=\"sans-serif\" font-size=\"11\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>\n<text x=\"{2}\" y=\"20\" "
      "font-size=\"14\">{3}</text>\n",
      width, height, kMargin, map.title);
  for (int32_t col = 0; col < map.cols; ++col) {
    svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                       kLeft + col * kCellWidth + kCellWidth / 2, kTop - 8, col);
  }
  const int64_t most =
      std::max<int64_t>(1, *std::max_element(map.values.begin(), map.values.end()));
  for (int32_t row = 0; row < map.rows; ++row) {
    svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">layer {}</text>\n", kLeft - 8,
                       kTop + row * kCellHeight + kCellHeight - 6, row);
    for (int32_t col = 0; col < map.cols; ++col) {
      const int64_t value = Value(map, row, col);
      svg += Cell(map, row, col, static_cast<double>(value) / static_cast<double>(most));
    }
  }
  return svg + "</svg>\n";
}

}  // namespace octet::app
