#include "server/metrics.h"

#include <fmt/format.h>

#include <iterator>

namespace octet {
namespace {

void Header(std::string_view name, std::string_view type, std::string_view help, std::string& out) {
  fmt::format_to(std::back_inserter(out), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

struct Value {
  const char* name;
  const char* type;
  const char* help;
  int64_t value;
};

std::vector<double> Bounds(double first, int n) {
  std::vector<double> bounds;
  for (int i = 0; i < n; ++i, first *= 2) bounds.push_back(first);
  return bounds;
}

}  // namespace

void Histogram::Observe(double value) {
  ++count_;
  sum_ += value;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    if (value <= bounds_[i]) ++counts_[i];
  }
}

void Histogram::Write(std::string_view name, std::string_view help, std::string& out) const {
  Header(name, "histogram", help, out);
  const auto at = std::back_inserter(out);
  for (size_t i = 0; i < bounds_.size(); ++i) {
    fmt::format_to(at, "{}_bucket{{le=\"{}\"}} {}\n", name, bounds_[i], counts_[i]);
  }
  fmt::format_to(at, "{}_bucket{{le=\"+Inf\"}} {}\n{}_sum {}\n{}_count {}\n", name, count_, name,
                 sum_, name, count_);
}

Metrics::Metrics()
    : duration_(Bounds(0.005, 18)),
      first_token_(Bounds(0.001, 18)),
      next_token_(Bounds(0.0005, 15)) {}

void Metrics::RequestDone(std::string_view path, int status, double seconds) {
  ++requests_[{std::string(path), status}];
  duration_.Observe(seconds);
}

std::string Metrics::Text(const EngineStats& s, int64_t connections) const {
  std::string out;
  Header("octet_http_requests_total", "counter", "Requests answered, by path and status", out);
  for (const auto& [key, count] : requests_) {
    fmt::format_to(std::back_inserter(out),
                   "octet_http_requests_total{{path=\"{}\",status=\"{}\"}} {}\n", key.first,
                   key.second, count);
  }
  duration_.Write("octet_http_request_seconds", "From a request's arrival to its whole answer",
                  out);
  first_token_.Write("octet_time_to_first_token_seconds",
                     "From a request's arrival to an answer's first token", out);
  next_token_.Write("octet_inter_token_seconds", "Between two tokens of an answer", out);
  const Value values[] = {
      {"octet_connections", "gauge", "Open connections", connections},
      {"octet_requests_running", "gauge", "Answers being computed", s.running},
      {"octet_requests_waiting", "gauge", "Answers not begun", s.waiting},
      {"octet_batch_rows", "gauge", "Tokens of the last step", s.last_rows},
      {"octet_batch_sequences", "gauge", "Answers that got a token in it", s.last_sequences},
      {"octet_kv_pages", "gauge", "Pages of keys and values", s.pages},
      {"octet_kv_pages_free", "gauge", "Pages that hold nothing", s.free_pages},
      {"octet_kv_pages_prefix", "gauge", "Pages that are found again by their text",
       s.prefix_pages},
      {"octet_kv_pages_prefix_unused", "gauge", "Of them, pages no answer uses",
       s.unused_prefix_pages},
      {"octet_steps_total", "counter", "Steps computed", s.steps},
      {"octet_prompt_tokens_total", "counter", "Tokens of prompts", s.prompt_tokens},
      {"octet_prefix_hit_tokens_total", "counter", "Of them, found computed", s.prefix_tokens},
      {"octet_prompt_rows_total", "counter", "Prompt tokens computed", s.prompt_rows},
      {"octet_generated_tokens_total", "counter", "Tokens of answers", s.generated_tokens},
      {"octet_preemptions_total", "counter", "Answers sent back to wait for pages", s.preemptions},
      {"octet_answers_total", "counter", "Answers that ended", s.finished},
      {"octet_answers_cancelled_total", "counter", "Of them, before their end", s.cancelled},
  };
  for (const Value& v : values) {
    Header(v.name, v.type, v.help, out);
    fmt::format_to(std::back_inserter(out), "{} {}\n", v.name, v.value);
  }
  return out;
}

}  // namespace octet
