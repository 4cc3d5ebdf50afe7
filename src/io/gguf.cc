#include "io/gguf.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/mapped_file.h"
#include "io/gguf_part.h"
#include "io/gguf_split.h"

namespace octet {
namespace {

using gguf::Part;

/// One or several parts, over mapped files or bytes that someone else owns.
class LoadedGguf final : public GgufFile {
 public:
  const GgufMetadata& metadata() const override { return metadata_; }
  const std::vector<std::string>& missing_files() const override { return missing_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }

  const TensorInfo* Find(std::string_view name) const override {
    const auto it = index_.find(name);
    return it == index_.end() ? nullptr : &tensors_[it->second];
  }

  Result<std::span<const std::byte>> Data(const TensorInfo& info) const override {
    const auto it = index_.find(info.name);
    if (it == index_.end()) {
      return Err(ErrorCode::kNotFound, "{}: there is no tensor {}", where_, info.name);
    }
    const Place& place = places_[it->second];
    const auto bytes = parts_[place.part].bytes;
    const uint64_t size = tensors_[it->second].bytes;
    if (place.begin > bytes.size() || size > bytes.size() - place.begin) {
      return Err(ErrorCode::kNotFound,
                 "{}: the data of {} ({} bytes at {}) are not in the file, which has {} bytes",
                 parts_[place.part].where, info.name, size, place.begin, bytes.size());
    }
    return bytes.subspan(place.begin, size);
  }

  void Release(const TensorInfo& info) const override {
    const auto it = index_.find(info.name);
    if (it == index_.end()) return;
    const auto data = Data(info);
    if (data) parts_[places_[it->second].part].file.Release(*data);
  }

  void set_where(std::string where) { where_ = std::move(where); }
  void AddMissing(std::string file) { missing_.push_back(std::move(file)); }

  /// Takes over a part; the first one's metadata are the whole's. `bytes` of memory when `file` is
  /// empty.
  void Add(Part part, MappedFile file, std::span<const std::byte> bytes, std::string where) {
    if (parts_.empty()) metadata_ = std::move(part.metadata);
    for (size_t i = 0; i < part.tensors.size(); ++i) {
      places_.push_back({parts_.size(), part.begin[i]});
      tensors_.push_back(std::move(part.tensors[i]));
    }
    parts_.push_back({std::move(file), bytes, std::move(where)});
  }

  /// After the last part: names must be unique across all of them.
  Status BuildIndex() {
    for (size_t i = 0; i < tensors_.size(); ++i) {
      if (!index_.emplace(tensors_[i].name, i).second) {
        return Err(ErrorCode::kCorrupt, "{}: tensor {} is in two parts", where_, tensors_[i].name);
      }
    }
    return {};
  }

 private:
  struct LoadedPart {
    MappedFile file;
    std::span<const std::byte> bytes;
    std::string where;
  };
  struct Place {
    size_t part;
    uint64_t begin;
  };
  std::string where_;
  GgufMetadata metadata_;
  std::vector<std::string> missing_;
  std::vector<LoadedPart> parts_;
  std::vector<TensorInfo> tensors_;
  std::vector<Place> places_;  // [tensors]
  std::unordered_map<std::string_view, size_t> index_;
};

/// 1 for a file that is whole by itself.
uint64_t SplitCount(const Part& part) {
  return std::max<uint64_t>(1, part.metadata.Uint(gguf::kSplitCountKey).value_or(1));
}

Status CheckSplitPart(const Part& part, const gguf::SplitName& name, std::string_view where) {
  const uint64_t count = SplitCount(part);
  const auto number = part.metadata.Uint(gguf::kSplitNoKey);
  if (count != static_cast<uint64_t>(name.count) ||
      number != static_cast<uint64_t>(name.number) - 1) {
    return Err(ErrorCode::kCorrupt,
               "{}: is part {} of {} by its metadata, but {} of {} by its name; rename the parts "
               "as they were published",
               where, number ? std::to_string(*number + 1) : "?", count, name.number, name.count);
  }
  return {};
}

Status CheckTensorTotal(const LoadedGguf& file, std::string_view where) {
  const auto total = file.metadata().Uint(gguf::kSplitTensorsKey);
  if (total && *total != file.tensors().size()) {
    return Err(ErrorCode::kCorrupt, "{}: the parts list {} tensors, the first one says {}", where,
               file.tensors().size(), *total);
  }
  return {};
}

Result<std::unique_ptr<GgufFile>> OpenSplitSet(const std::filesystem::path& path,
                                               const gguf::SplitName& name, OpenMode mode) {
  auto whole = std::make_unique<LoadedGguf>();
  whole->set_where(path.string());
  std::vector<std::string> missing;
  for (int number = 1; number <= name.count; ++number) {
    const auto sibling = name.Path(number);
    std::error_code ignored;
    if (std::filesystem::exists(sibling, ignored)) continue;
    missing.push_back(sibling.filename().string());
  }
  const bool first_missing = !missing.empty() && missing.front() == name.Path(1).filename();
  if (!missing.empty() && (mode == OpenMode::kFull || first_missing)) {
    std::string listed = missing.front();
    for (size_t i = 1; i < std::min<size_t>(missing.size(), 5); ++i) listed += ", " + missing[i];
    if (missing.size() > 5) listed += fmt::format(" and {} more", missing.size() - 5);
    return Err(ErrorCode::kNotFound, "{}: {} of the model's {} parts are missing: {}",
               path.string(), missing.size(), name.count, listed);
  }
  for (int number = 1; number <= name.count; ++number) {
    const auto sibling = name.Path(number);
    if (std::find(missing.begin(), missing.end(), sibling.filename()) != missing.end()) continue;
    OCTET_ASSIGN(MappedFile file, MappedFile::Open(sibling));
    const auto bytes = file.bytes();
    OCTET_ASSIGN(Part part, gguf::ParsePart(bytes, sibling.string(), mode));
    OCTET_TRY(CheckSplitPart(part, {name.prefix, number, name.count}, sibling.string()));
    whole->Add(std::move(part), std::move(file), bytes, sibling.string());
  }
  OCTET_TRY(whole->BuildIndex());
  if (missing.empty()) OCTET_TRY(CheckTensorTotal(*whole, path.string()));
  for (std::string& file : missing) whole->AddMissing(std::move(file));
  return std::unique_ptr<GgufFile>(std::move(whole));
}

}  // namespace

Result<std::unique_ptr<GgufFile>> OpenGguf(const std::filesystem::path& path, OpenMode mode) {
  OCTET_ASSIGN(MappedFile file, MappedFile::Open(path));
  const auto bytes = file.bytes();
  OCTET_ASSIGN(Part part, gguf::ParsePart(bytes, path.string(), mode));
  if (const uint64_t count = SplitCount(part); count > 1) {
    const auto name = gguf::ParseSplitName(path);
    if (!name) {
      return Err(ErrorCode::kInvalidArgument,
                 "{}: is one of {} parts of a model, but its name does not end in "
                 "-0000N-of-{:05}.gguf, by which the others are found; give it its old name back",
                 path.string(), count, count);
    }
    OCTET_TRY(CheckSplitPart(part, *name, path.string()));
    return OpenSplitSet(path, *name, mode);
  }
  auto whole = std::make_unique<LoadedGguf>();
  whole->set_where(path.string());
  whole->Add(std::move(part), std::move(file), bytes, path.string());
  OCTET_TRY(whole->BuildIndex());
  return std::unique_ptr<GgufFile>(std::move(whole));
}

Result<std::unique_ptr<GgufFile>> ParseGguf(std::span<const std::byte> bytes,
                                            std::string_view where, OpenMode mode) {
  OCTET_ASSIGN(Part part, gguf::ParsePart(bytes, where, mode));
  if (const uint64_t count = SplitCount(part); count > 1 && mode == OpenMode::kFull) {
    return Err(ErrorCode::kUnsupported,
               "{}: is one of {} parts; a split model is opened by its path", where, count);
  }
  auto whole = std::make_unique<LoadedGguf>();
  whole->set_where(std::string(where));
  whole->Add(std::move(part), MappedFile(), bytes, std::string(where));
  OCTET_TRY(whole->BuildIndex());
  return std::unique_ptr<GgufFile>(std::move(whole));
}

}  // namespace octet
