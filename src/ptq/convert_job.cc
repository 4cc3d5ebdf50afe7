#include "ptq/convert_job.h"

#include <algorithm>
#include <string>
#include <system_error>

#include "base/file.h"
#include "io/gguf_split.h"

namespace octet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Name, size and time of every file the source may consist of: a change to one of them means that
/// what was already converted no longer belongs to it.
json Fingerprint(const fs::path& source) {
  std::error_code ignored;
  std::vector<fs::path> files;
  if (fs::is_directory(source, ignored)) {
    for (const auto& entry : fs::directory_iterator(source, ignored)) files.push_back(entry.path());
  } else if (const auto name = gguf::ParseSplitName(source)) {
    for (int part = 1; part <= name->count; ++part) files.push_back(name->Path(part));
  } else {
    files.push_back(source);
  }
  std::sort(files.begin(), files.end());
  json list = json::array();
  for (const fs::path& file : files) {
    if (!fs::is_regular_file(file, ignored)) continue;
    list.push_back({file.filename().string(), fs::file_size(file, ignored),
                    fs::last_write_time(file, ignored).time_since_epoch().count()});
  }
  return list;
}

}  // namespace

ConvertJob::ConvertJob(const fs::path& source, const fs::path& destination,
                       const ConvertOptions& options, std::string_view types)
    : note_path_(AtomicFileWriter::PartialPath(destination)),
      destination_(destination),
      resume_(options.resume),
      force_(options.force) {
  note_path_ += ".job";
  std::error_code ignored;
  description_ = {{"source", fs::weakly_canonical(source, ignored).string()},
                  {"files", Fingerprint(source)},
                  {"tokenizer", options.tokenizer.string()},
                  {"target", static_cast<int>(options.target)},
                  {"type", static_cast<int>(options.type)},
                  {"types", types},
                  {"max_shard_bytes", options.max_shard_bytes},
                  {"max_part_bytes", options.max_part_bytes}};
}

Status ConvertJob::Begin(const std::vector<fs::path>& partials) {
  std::error_code ignored;
  if (fs::exists(note_path_, ignored)) {
    OCTET_ASSIGN(const std::string note, ReadTextFile(note_path_, 1u << 26));
    const json old = json::parse(note, nullptr, /*allow_exceptions=*/false);
    const bool same = old.is_object() && old.contains("job") && old["job"] == description_;
    if (!resume_ && !force_) {
      return Err(ErrorCode::kInvalidArgument,
                 "{}: an earlier conversion was interrupted; --resume continues it, --force starts "
                 "over",
                 destination_.string());
    }
    if (resume_ && !same && !force_) {
      return Err(ErrorCode::kInvalidArgument,
                 "{}: the interrupted conversion was of another source or with other options (or "
                 "the source's files have changed since); --force starts over",
                 destination_.string());
    }
    resumes_ = resume_ && same;
    if (!resumes_ && old.is_object()) {
      for (const json& name : old.value("partials", json::array())) {
        if (name.is_string()) {
          fs::remove_all(destination_.parent_path() / fs::path(name.get<std::string>()).filename(),
                         ignored);
        }
      }
    }
  }
  json names = json::array();
  for (const fs::path& partial : partials) {
    if (!resumes_ && fs::exists(partial, ignored)) {
      return Err(ErrorCode::kInvalidArgument,
                 "{}: is in the way and was not left by a conversion; move it or remove it",
                 partial.string());
    }
    names.push_back(partial.filename().string());
  }
  partials_ = partials;
  return WriteFileAtomically(note_path_,
                             json{{"job", description_}, {"partials", names}}.dump(1) + "\n");
}

void ConvertJob::End() {
  std::error_code ignored;
  fs::remove(note_path_, ignored);
}

void ConvertJob::Discard() {
  if (partials_.empty()) return;  // never begun: what is there is not this job's
  std::error_code ignored;
  for (const fs::path& partial : partials_) fs::remove_all(partial, ignored);
  End();
}

}  // namespace octet
