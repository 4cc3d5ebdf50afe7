// Load for a server with OpenAI's interface: many chats at once, timed. Guide:
// docs/guides/serve.md.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "octet/error.h"

namespace octet {

struct LoadTestOptions {
  std::string url = "http://127.0.0.1:8080";  // http alone; a path is put before /v1
  std::string api_key;
  std::string model;  // empty: the server's
  int32_t concurrent = 32;
  double seconds = 30;
  double warm_up_s = 2;  // before them, not counted
  int64_t max_tokens = 128;
  /// Answers go on to max_tokens past the end of a text, where the server knows "ignore_eos".
  bool ignore_eos = true;
  double temperature = 0.8;
  std::vector<std::string> prompts;  // taken in turn; empty: beginnings of stories
  double timeout_s = 120;            // without a byte, after which an answer counts as an error
};

/// Of seconds.
struct Quantiles {
  double p50 = 0, p95 = 0, p99 = 0, most = 0;
};

struct LoadReport {
  double seconds = 0;
  int64_t answers = 0;  // whole ones
  int64_t tokens = 0;   // of answers, that came in these seconds
  int64_t prompt_tokens = 0;
  double tokens_per_s = 0;
  Quantiles first_token;                  // from the request to the first text
  Quantiles gap;                          // between two pieces of an answer, as they arrive
  double tokens_per_piece = 0;            // servers may send several tokens at once
  std::map<std::string, int64_t> errors;  // by kind
  std::vector<double> each_second;        // tokens/s

  int64_t error_count() const;
};

/// Keeps `concurrent` chats streaming until the time is over. Errors of single requests are
/// counted; kIo when the server cannot be reached at all. `progress` hears once a second.
Result<LoadReport> RunLoad(const LoadTestOptions& options,
                           const std::function<void(const std::string&)>& progress = {});

std::string LoadReportText(const LoadReport& report);
std::string LoadReportJson(const LoadTestOptions& options, const LoadReport& report);
std::string LoadReportSvg(const LoadTestOptions& options, const LoadReport& report);

}  // namespace octet
