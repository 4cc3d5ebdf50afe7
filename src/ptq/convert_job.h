// The note an unfinished conversion leaves beside its partial files: what it was converting, so
// that it is continued only from the same source with the same options.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "octet/convert.h"

namespace octet {

class ConvertJob {
 public:
  /// `types` tells what else decides the tensors' types; empty when nothing does.
  ConvertJob(const std::filesystem::path& source, const std::filesystem::path& destination,
             const ConvertOptions& options, std::string_view types);

  /// Call before anything is written. `partials`: files or folders that will hold unfinished work.
  /// Removes the remains of an earlier job unless it is to be continued. Errors: kInvalidArgument
  /// when such remains are there and the options say neither resume nor force, or when they are of
  /// another job.
  Status Begin(const std::vector<std::filesystem::path>& partials);
  /// True after Begin when earlier work is to be continued.
  bool resumes() const { return resumes_; }
  /// Tells one job from every other.
  std::string key() const { return description_.dump(); }
  /// Everything is in its place: the note goes.
  void End();
  /// The work cannot be continued: note and partial files go.
  void Discard();

 private:
  std::filesystem::path note_path_;
  std::filesystem::path destination_;
  bool resume_, force_;
  bool resumes_ = false;
  nlohmann::json description_;
  std::vector<std::filesystem::path> partials_;  // after Begin
};

}  // namespace octet
