#include "base/svg.h"

#include <gtest/gtest.h>

#include <limits>

namespace octet::svg {
namespace {

TEST(Svg, NumbersAreShort) {
  EXPECT_EQ(Short(0), "0");
  EXPECT_EQ(Short(0.0012345), "0.00123");
  EXPECT_EQ(Short(12345.6), "12346");
  EXPECT_EQ(Short(2.5e6), "2.5M");
  EXPECT_DOUBLE_EQ(NiceStep(0.3), 0.5);
  EXPECT_DOUBLE_EQ(NiceStep(21), 25);
  EXPECT_DOUBLE_EQ(NiceStep(6), 10);
}

TEST(Svg, TextIsEscaped) {
  EXPECT_NE(Small(1, 2, "start", "a < b & c").find(">a &lt; b &amp; c</text>"), std::string::npos);
}

Chart ChartOf(std::vector<Series> series) {
  Chart chart;
  chart.width = 100;
  chart.height = 50;
  chart.title = "title";
  chart.series = std::move(series);
  return chart;
}

TEST(Svg, ALineGoesFromCornerToCornerOfItsAxes) {
  const std::string svg = LineChart(ChartOf({{"name", {0, 10}, {0, 5}, false}}));
  EXPECT_NE(svg.find("points=\"0.0,50.0 100.0,0.0 \""), std::string::npos) << svg;
  EXPECT_NE(svg.find(">name</text>"), std::string::npos);
}

TEST(Svg, WhatCannotBeDrawnIsLeftOut) {
  const double nan = std::numeric_limits<double>::quiet_NaN(),
               infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(LineChart(ChartOf({})).find("<line"), std::string::npos);
  for (const bool logarithmic : {false, true}) {
    Chart chart = ChartOf({{"", {1, 2, 3}, {nan, 4, infinity}, true}, {"", {}, {}, false}});
    chart.logarithmic = logarithmic;
    const std::string svg = LineChart(chart);
    EXPECT_EQ(svg.find("nan"), std::string::npos) << svg;
    EXPECT_EQ(svg.find("inf"), std::string::npos) << svg;
    EXPECT_NE(svg.find("<circle"), std::string::npos);
  }
}

}  // namespace
}  // namespace octet::svg
