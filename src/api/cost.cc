#include "octet/cost.h"

#include <cmath>

namespace octet {

Result<CostReport> EstimateCost(const CostOptions& o) {
  struct {
    const char* name;
    double value;
    bool positive;
  } const values[] = {{"prompt tokens/s", o.prompt_tokens_per_s, true},
                      {"completion tokens/s", o.completion_tokens_per_s, true},
                      {"watts", o.watts, false},
                      {"idle watts", o.idle_watts, false},
                      {"price per kWh", o.price_per_kwh, false},
                      {"hardware price", o.hardware_price, false},
                      {"lifetime", o.lifetime_years, true},
                      {"utilisation", o.utilisation, true}};
  for (const auto& v : values) {
    if (std::isfinite(v.value) && (v.positive ? v.value > 0 : v.value >= 0)) continue;
    return Err(ErrorCode::kInvalidArgument, "{} is {}, expected {}", v.name, v.value,
               v.positive ? "more than 0" : "0 or more");
  }
  if (o.utilisation > 1) {
    return Err(ErrorCode::kInvalidArgument, "utilisation is {}, expected at most 1", o.utilisation);
  }
  constexpr double kHoursPerYear = 365.25 * 24, kWattsPerKilowatt = 1000;
  // Each hour of computing pays for the hours of waiting that come with it.
  const double idle_hours = (1 - o.utilisation) / o.utilisation;
  CostReport report;
  report.electricity_per_hour =
      (o.watts + idle_hours * o.idle_watts) / kWattsPerKilowatt * o.price_per_kwh;
  report.hardware_per_hour = o.hardware_price / (o.lifetime_years * kHoursPerYear * o.utilisation);
  report.per_hour = report.electricity_per_hour + report.hardware_per_hour;
  const auto per_million = [&](double tokens_per_s) {
    return report.per_hour / 3600 * (1e6 / tokens_per_s);
  };
  report.per_million_prompt = per_million(o.prompt_tokens_per_s);
  report.per_million_completion = per_million(o.completion_tokens_per_s);
  return report;
}

}  // namespace octet
