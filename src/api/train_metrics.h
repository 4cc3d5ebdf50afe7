// What a run tells about its updates.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "octet/train.h"
#include "text/tokenizer.h"
#include "train/trainer.h"

namespace octet {

/// metrics.jsonl: one object a line, one line an update.
class MetricsFile {
 public:
  /// Lines of updates after `step`, which a killed run wrote and a resumed one will write again,
  /// are dropped.
  static Result<MetricsFile> Open(const std::filesystem::path& path, int64_t step);
  Status Append(const TrainUpdate& update);

 private:
  explicit MetricsFile(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
  std::ofstream file_;
};

/// Bytes a predicted token of each source's held-out documents stands for; 0 where there are none,
/// or they are not text.
Result<std::vector<double>> HeldOutBytes(const Mixture& mixture, const ModelConfig& config,
                                         const Tokenizer& tokenizer, int64_t context);

TrainUpdate ToUpdate(const UpdateReport& report, int64_t steps,
                     const std::vector<std::string>& sources,
                     const std::vector<double>& bytes_per_token);

}  // namespace octet
