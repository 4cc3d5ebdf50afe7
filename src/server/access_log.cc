#include "server/access_log.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <ctime>

#include "server/api_error.h"

namespace octet {
namespace {

/// "2026-08-01T12:00:00.123Z"
std::string UtcTime() {
  using std::chrono::system_clock;
  const auto now = system_clock::now();
  const std::time_t seconds = system_clock::to_time_t(now);
  const auto since = now.time_since_epoch();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(since).count() % 1000;
  std::tm utc = {};
  gmtime_r(&seconds, &utc);
  char text[32];
  const size_t n = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:03}Z", std::string_view(text, n), ms);
}

/// To microseconds; a division, so that the shortest digits are printed.
double Rounded(double seconds) { return std::floor(seconds * 1e6) / 1e6; }

}  // namespace

std::string AccessLogLine(const HttpRequest& request, const RequestRecord& record, double seconds) {
  constexpr size_t kLongestPath = 200;
  nlohmann::ordered_json line = {{"time", UtcTime()},
                                 {"id", record.id},
                                 {"client", record.client},
                                 {"method", request.method},
                                 {"path", request.path.substr(0, kLongestPath)},
                                 {"status", record.status},
                                 {"seconds", Rounded(seconds)}};
  if (!record.adapter.empty()) line["adapter"] = record.adapter;
  if (record.prompt_tokens > 0) {
    line["prompt_tokens"] = record.prompt_tokens;
    line["cached_tokens"] = record.cached_tokens;
    line["completion_tokens"] = record.completion_tokens;
  }
  if (record.first_token_s >= 0) line["first_token_s"] = Rounded(record.first_token_s);
  if (!record.finish.empty()) line["finish"] = record.finish;
  if (!record.prompts.empty()) line["prompts"] = record.prompts;
  if (!record.answers.empty()) line["answers"] = record.answers;
  return Dump(line);
}

}  // namespace octet
