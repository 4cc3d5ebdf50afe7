// Pictures as text: what the plots of benchmarks and of training runs share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace octet::svg {

constexpr const char *kBlue = "#2563a8", *kPale = "#c9d8ea", *kInk = "#1d2733", *kGrey = "#68737f",
                     *kLine = "#e3e8ee";

/// A whole document of this size in pixels, on white.
std::string Document(double width, double height, std::string_view body);

/// `anchor` is start, middle or end, `style` further attributes; `text` is escaped.
std::string Text(double x, double y, std::string_view anchor, std::string_view style,
                 std::string_view text);
std::string Small(double x, double y, std::string_view anchor, std::string_view text);  // a label
std::string Title(double x, double y, std::string_view text);                           // bold

/// Three digits are enough to read off a picture.
std::string Short(double value);
/// The smallest of 1, 2, 2.5, 5 times a power of ten that is no less than `value`, which is above
/// 0.
double NiceStep(double value);

/// #rrggbb from pale (0) to dark blue (1).
std::string Shade(double share);

struct Series {
  std::string name;  // for the legend; empty: none
  std::vector<double> x, y;
  bool dots = false;       // points are marked, too
  bool reference = false;  // what the others are compared with: grey and dashed
};

struct Chart {
  double left = 0, top = 0, width = 0, height = 0;  // of the axes; labels stand around them
  std::string title, below;
  bool from_zero = false;      // the vertical axis begins at 0
  bool logarithmic = false;    // it is logarithmic; values must be above 0
  bool legend_beside = false;  // right of the axes, not in their upper right corner
  std::vector<Series> series;
};
/// Lines over common axes. A series without points is left out; without any, only the title.
std::string LineChart(const Chart& chart);

}  // namespace octet::svg
