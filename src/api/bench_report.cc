// A benchmark's report as JSON and as a picture.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "octet/bench.h"

namespace octet {

std::string BenchJson(const BenchReport& report) {
  nlohmann::ordered_json figures = nlohmann::ordered_json::array();
  for (const BenchFigure& f : report.figures) {
    figures.push_back({{"name", f.name},
                       {"tokens", f.tokens},
                       {"tokens_per_s", f.tokens_per_s},
                       {"step_s", {{"median", f.median_s}, {"min", f.min_s}, {"max", f.max_s}}},
                       {"weight_bytes", f.weight_bytes},
                       {"kv_bytes", f.kv_bytes},
                       {"read_bytes_per_s", f.read_bytes_per_s},
                       {"read_share", f.read_share},
                       {"flops", f.flops},
                       {"flops_per_s", f.flops_per_s},
                       {"peak_share", f.peak_share},
                       {"loaded_peak_share", f.loaded_peak_share}});
  }
  nlohmann::ordered_json peaks = nlohmann::ordered_json::object();
  for (const BenchPeak& peak : report.peaks) peaks[peak.name] = peak.ops_per_s;
  const nlohmann::ordered_json json = {{"model", report.model},
                                       {"isa", report.isa},
                                       {"layout", report.layout},
                                       {"threads", report.threads},
                                       {"layers", report.layers},
                                       {"parameters", report.parameters},
                                       {"active_parameters", report.active_parameters},
                                       {"weight_bytes", report.weight_bytes},
                                       {"peak_memory_bytes", report.peak_memory_bytes},
                                       {"load_s", report.load_s},
                                       {"pack_s", report.pack_s},
                                       {"read_limit_bytes_per_s", report.read_limit_bytes_per_s},
                                       {"peak_ops_per_s", peaks},
                                       {"figures", figures}};
  return json.dump(2);
}

std::string BenchSvg(const BenchReport& report) {
  constexpr int kLeft = 150, kBar = 480, kRow = 24, kTop = 40;
  double best = 1e-9;
  for (const BenchFigure& f : report.figures) best = std::max(best, f.tokens_per_s);
  const int height = kTop + kRow * static_cast<int>(report.figures.size()) + 16;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"{}\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"10\" y=\"20\" "
      "font-size=\"14\">{}: tokens/s, {} threads</text>\n",
      height, report.model, report.threads);
  int y = kTop;
  for (const BenchFigure& f : report.figures) {
    const double width = std::max(1.0, kBar * f.tokens_per_s / best);
    svg += fmt::format(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><rect x=\"{}\" y=\"{}\" "
        "width=\"{:.1f}\" height=\"16\" "
        "fill=\"#4472c4\"/><text x=\"{:.1f}\" y=\"{}\">{:.1f}</text>\n",
        kLeft - 8, y + 13, f.name, kLeft, y, width, kLeft + width + 6, y + 13, f.tokens_per_s);
    y += kRow;
  }
  return svg + "</svg>\n";
}

}  // namespace octet
