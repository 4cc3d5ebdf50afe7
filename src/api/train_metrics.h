// What a run tells about its updates.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "octet/train.h"
#include "text/tokenizer.h"
#include "train/event_file.h"
#include "train/trainer.h"

namespace octet {

/// What a run tells, in files of its folder: metrics.jsonl (an object a line, a line an update),
/// the same for TensorBoard, samples.jsonl.
class MetricsFiles {
 public:
  /// Lines of updates after `step`, which a killed run wrote and a resumed one will write again,
  /// are dropped.
  static Result<MetricsFiles> Open(const std::filesystem::path& folder, int64_t step);
  Status Append(const TrainUpdate& update);

 private:
  explicit MetricsFiles(EventFile events) : events_(std::move(events)) {}
  std::ofstream metrics_, samples_;
  EventFile events_;
  std::filesystem::path folder_;
};

/// Bytes a predicted token of each source's held-out documents stands for; 0 where there are none,
/// or they are not text.
Result<std::vector<double>> HeldOutBytes(const Mixture& mixture, const ModelConfig& config,
                                         const Tokenizer& tokenizer, int64_t context);

TrainUpdate ToUpdate(const UpdateReport& report, int64_t steps,
                     const std::vector<std::string>& sources,
                     const std::vector<double>& bytes_per_token);

}  // namespace octet
