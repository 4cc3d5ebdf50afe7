// Counters and histograms in Prometheus's text form.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/engine_stats.h"
#include "service/ledger.h"

namespace octet {

class Histogram {
 public:
  /// Ascending upper bounds.
  explicit Histogram(std::vector<double> bounds)
      : bounds_(std::move(bounds)), counts_(bounds_.size()) {}
  void Observe(double value);
  void Write(std::string_view name, std::string_view help, std::string& out) const;

 private:
  std::vector<double> bounds_;
  std::vector<int64_t> counts_;  // cumulative
  int64_t count_ = 0;
  double sum_ = 0;
};

/// What others count.
struct MetricsSources {
  EngineStats engine;
  std::string_view model;
  int64_t connections = 0;
  std::optional<LedgerStats> ledger = std::nullopt;
  /// Rows each expert had [layers * n_experts]; empty for a dense model.
  std::vector<int64_t> expert_load = {};
  int64_t n_experts = 0;
};

/// Of the server's thread alone.
class Metrics {
 public:
  Metrics();
  void RequestDone(std::string_view path, int status, double seconds);
  /// `adapter` is one of the server's.
  void AdapterUsed(std::string_view adapter, int64_t prompt_tokens, int64_t completion_tokens);
  void FirstToken(double seconds) { first_token_.Observe(seconds); }
  void NextToken(double seconds) { next_token_.Observe(seconds); }
  std::string Text(const MetricsSources& sources) const;

 private:
  struct Use {
    int64_t requests = 0, prompt_tokens = 0, completion_tokens = 0;
  };
  std::map<std::pair<std::string, int>, int64_t> requests_;  // by path and status
  std::map<std::string, Use, std::less<>> adapters_;
  Histogram duration_, first_token_, next_token_;
};

}  // namespace octet
