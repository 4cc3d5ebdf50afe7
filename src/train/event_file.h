// TensorBoard's event files: TFRecords of Event messages (tensorflow/core/util/event.proto), of
// which only scalars are written. The protocol buffers are few enough to be spelled by hand.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace octet {

struct Scalar {
  std::string tag;  // "loss/train"
  double value = 0;
};

/// A record as it lies in the file: u64 length, masked CRC-32C of the length, data, masked CRC-32C
/// of the data.
std::string TfRecord(std::string_view data);
/// An Event of scalars. `wall_time` in seconds.
std::string ScalarEvent(double wall_time, int64_t step, std::span<const Scalar> scalars);

class EventFile {
 public:
  /// Begins the file anew.
  static Result<EventFile> Create(const std::filesystem::path& path);
  Status Append(double wall_time, int64_t step, std::span<const Scalar> scalars);

 private:
  explicit EventFile(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace octet
