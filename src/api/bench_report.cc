// A benchmark's report as JSON.
#include <nlohmann/json.hpp>

#include "octet/bench.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;

const char* KindName(BenchKind kind) {
  switch (kind) {
    case BenchKind::kPrompt:
      return "prompt";
    case BenchKind::kDecode:
      return "decode";
    case BenchKind::kBatch:
      break;
  }
  return "batch";
}

Json PartsJson(const BenchFigure& f) {
  Json parts = Json::array();
  for (const BenchPart& part : f.parts) {
    parts.push_back({{"name", part.name},
                     {"seconds", part.seconds},
                     {"share", part.share},
                     {"outside_kernels_share", part.outside_share}});
  }
  return parts;
}

Json FigureJson(const BenchFigure& f) {
  Json json = {{"kind", KindName(f.kind)},
               {"name", f.name},
               {"depth", f.depth},
               {"batch", f.batch},
               {"text_tokens", f.text_tokens},
               {"tokens", f.tokens},
               {"tokens_per_s", f.tokens_per_s},
               {"step_s", {{"median", f.median_s}, {"min", f.min_s}, {"max", f.max_s}}},
               {"weight_bytes", f.weight_bytes},
               {"kv_bytes", f.kv_bytes},
               {"experts_per_layer", f.experts_per_layer},
               {"read_bytes_per_s", f.read_bytes_per_s},
               {"read_share", f.read_share},
               {"flops", f.flops},
               {"flops_per_s", f.flops_per_s},
               {"peak", f.peak},
               {"peak_share", f.peak_share},
               {"loaded_peak_share", f.loaded_peak_share},
               {"allowed_tokens_per_s", f.allowed_tokens_per_s},
               {"allowed_share", f.allowed_share},
               {"kv_cost", f.kv_cost}};
  if (!f.parts.empty()) {
    json["parts"] = PartsJson(f);
    json["outside_kernels_share"] = f.outside_share;
  }
  return json;
}

}  // namespace

std::string BenchJson(const BenchReport& report) {
  Json limits = Json::array();
  for (const BenchLimit& limit : report.limits) {
    limits.push_back({{"name", limit.name},
                      {"unit", limit.unit},
                      {"median", limit.median},
                      {"min", limit.min},
                      {"max", limit.max}});
  }
  Json figures = Json::array();
  for (const BenchFigure& figure : report.figures) figures.push_back(FigureJson(figure));
  const Json json = {{"model", report.model},
                     {"isa", report.isa},
                     {"layout", report.layout},
                     {"kv_type", report.kv_type},
                     {"threads", report.threads},
                     {"repetitions", report.repetitions},
                     {"layers", report.layers},
                     {"parameters", report.parameters},
                     {"active_parameters", report.active_parameters},
                     {"weight_bytes", report.weight_bytes},
                     {"load_s", report.load_s},
                     {"load_peak_memory_bytes", report.load_peak_memory_bytes},
                     {"peak_memory_bytes", report.peak_memory_bytes},
                     {"limits", limits},
                     {"figures", figures},
                     {"notes", report.notes}};
  return json.dump(2);
}

}  // namespace octet
