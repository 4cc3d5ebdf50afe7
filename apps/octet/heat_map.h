// A table of numbers as a picture: layers down, experts across.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace octet::app {

struct HeatMap {
  std::string_view title;
  int32_t rows = 0, cols = 0;
  std::span<const int64_t> values;  // [rows, cols]
  int64_t least = 0;                // cells below it get a mark
};

/// A whole SVG document.
std::string HeatMapSvg(const HeatMap& map);

}  // namespace octet::app
