#include "server/metrics.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "octet/version.h"

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

/// 1, 1.5, 2, 3, 5, 7 times powers of ten: a quantile read from neighbouring buckets is off by a
/// fifth at most.
std::vector<double> Bounds(double first, double last) {
  constexpr double kSteps[] = {1, 1.5, 2, 3, 5, 7};
  constexpr int kLowest = -4;
  std::vector<double> bounds;
  for (int power = kLowest;; ++power) {
    for (const double step : kSteps) {
      // Divided by whole numbers, so that the shortest digits are printed.
      const double ten = std::pow(10, std::abs(power));
      const double bound = power < 0 ? step / ten : step * ten;
      if (bound > last) return bounds;
      if (bound >= first) bounds.push_back(bound);
    }
  }
}

void WriteAll(std::span<const Value> values, std::string& out) {
  for (const Value& v : values) {
    Header(v.name, v.type, v.help, out);
    fmt::format_to(std::back_inserter(out), "{} {}\n", v.name, v.value);
  }
}

void WriteBatches(const BatchCounts& batches, std::string& out) {
  constexpr std::string_view kName = "octet_batch_answers";
  Header(kName, "histogram", "Answers that got a token in a step", out);
  const auto at = std::back_inserter(out);
  int64_t steps = 0;
  for (size_t i = 0; i < batches.steps.size(); ++i) {
    steps += batches.steps[i];
    if (i + 1 == batches.steps.size()) break;  // it may hold larger ones
    fmt::format_to(at, "{}_bucket{{le=\"{}\"}} {}\n", kName, BatchCounts::Bound(i), steps);
  }
  fmt::format_to(at, "{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", kName, steps,
                 batches.total);
}

void WriteExperts(const MetricsSources& sources, std::string& out) {
  if (sources.expert_load.empty()) return;
  constexpr std::string_view kName = "octet_expert_rows_total";
  Header(kName, "counter", "Tokens that an expert computed, by layer", out);
  for (size_t i = 0; i < sources.expert_load.size(); ++i) {
    const auto experts = static_cast<size_t>(sources.n_experts);
    fmt::format_to(std::back_inserter(out), "{}{{layer=\"{}\",expert=\"{}\"}} {}\n", kName,
                   i / experts, i % experts, sources.expert_load[i]);
  }
}

/// One counter of every adapter; a name is the operator's, and may be anything.
template <class Uses, class Value>
void WriteAdapters(std::string_view name, std::string_view help, const Uses& uses, Value value,
                   std::string& out) {
  if (uses.empty()) return;
  Header(name, "counter", help, out);
  for (const auto& [adapter, use] : uses) {
    fmt::format_to(std::back_inserter(out), "{}{{adapter={}}} {}\n", name,
                   nlohmann::json(adapter).dump(), value(use));
  }
}

void WriteLedger(const LedgerStats& ledger, std::string& out) {
  const Value values[] = {
      {"octet_ledger_rows_total", "counter", "Requests the ledger got", ledger.rows},
      {"octet_ledger_commits_total", "counter", "Commits, each of any number of rows",
       ledger.commits},
  };
  WriteAll(values, out);
  Header("octet_ledger_commit_seconds_total", "counter", "Time of all commits", out);
  fmt::format_to(std::back_inserter(out), "octet_ledger_commit_seconds_total {}\n",
                 ledger.commit_s);
}

/// Resident bytes as the system counts them; 0 where it does not say.
int64_t ResidentBytes() {
  const auto text = ReadTextFile("/proc/self/status", 1 << 16);
  const size_t at = text ? text->find("VmRSS:") : std::string::npos;
  constexpr int64_t kKilobyte = 1024;
  return at == std::string::npos ? 0 : std::atoll(text->c_str() + at + 6) * kKilobyte;
}

void WriteProcess(const MetricsSources& sources, std::string& out) {
  Header("octet_info", "gauge", "The program and its model", out);
  fmt::format_to(std::back_inserter(out), "octet_info{{version=\"{}\",model={}}} 1\n", kVersion,
                 nlohmann::json(sources.model).dump());
  Header("process_resident_memory_bytes", "gauge", "Memory in use, the model's file included", out);
  fmt::format_to(std::back_inserter(out), "process_resident_memory_bytes {}\n", ResidentBytes());
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
    : duration_(Bounds(0.005, 500)),
      first_token_(Bounds(0.001, 100)),
      next_token_(Bounds(0.0005, 10)) {}

void Metrics::RequestDone(std::string_view path, int status, double seconds) {
  ++requests_[{std::string(path), status}];
  duration_.Observe(seconds);
}

void Metrics::AdapterUsed(std::string_view adapter, int64_t prompt_tokens,
                          int64_t completion_tokens) {
  Use& use = adapters_[std::string(adapter)];
  ++use.requests;
  use.prompt_tokens += prompt_tokens;
  use.completion_tokens += completion_tokens;
}

std::string Metrics::Text(const MetricsSources& sources) const {
  const EngineStats& s = sources.engine;
  std::string out;
  WriteProcess(sources, out);
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
      {"octet_connections", "gauge", "Open connections", sources.connections},
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
  WriteAll(values, out);
  WriteBatches(s.batches, out);
  WriteExperts(sources, out);
  const auto of_adapters = [&](const char* name, const char* help, int64_t Use::*count) {
    WriteAdapters(
        name, help, adapters_, [count](const Use& use) { return use.*count; }, out);
  };
  of_adapters("octet_adapter_requests_total", "Requests with an adapter", &Use::requests);
  of_adapters("octet_adapter_prompt_tokens_total", "Tokens of their prompts", &Use::prompt_tokens);
  of_adapters("octet_adapter_generated_tokens_total", "Tokens of their answers",
              &Use::completion_tokens);
  if (sources.ledger) WriteLedger(*sources.ledger, out);
  return out;
}

}  // namespace octet
