#include "io/safetensors_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <utility>

#include "io/json.h"
#include "io/mapped_tensors.h"

namespace octet {
namespace {

namespace fs = std::filesystem;

constexpr char kWholeName[] = "model.safetensors";
constexpr char kIndexName[] = "model.safetensors.index.json";
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // readers refuse more
constexpr uint64_t kDataAlignment = 64;            // of the data section, so that mapped rows align

// Bytes of an element, or 0 for a format safetensors has no name for.
uint64_t ElementBytes(Format format) {
  switch (format) {
    case Format::kF32:
      return 4;
    case Format::kF16:
    case Format::kBf16:
      return 2;
    default:
      return 0;
  }
}

// A JSON string; bytes that are no UTF-8 become U+FFFD.
std::string Quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string EncodeHeader(std::span<const TensorInfo> tensors,
                         const std::map<std::string, std::string>& metadata) {
  std::string json = "{";
  if (!metadata.empty()) {
    json += R"("__metadata__":{)";
    for (const auto& [key, value] : metadata) {
      if (json.back() != '{') json += ',';
      json += Quoted(key) + ":" + Quoted(value);
    }
    json += '}';
  }
  uint64_t offset = 0;
  for (const TensorInfo& tensor : tensors) {
    if (json.back() != '{') json += ',';
    json += Quoted(tensor.name) +
            fmt::format(R"(:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        Info(tensor.format).name, fmt::join(tensor.shape, ","), offset,
                        offset + tensor.bytes);
    offset += tensor.bytes;
  }
  json += '}';
  json.append((kDataAlignment - (8 + json.size()) % kDataAlignment) % kDataAlignment, ' ');
  std::string header(8, '\0');
  for (int i = 0; i < 8; ++i) header[i] = static_cast<char>(json.size() >> (8 * i));
  return header + json;
}

// A file of at least `min_bytes` that begins with `header`.
bool BeginsWith(const fs::path& path, const std::string& header, uint64_t min_bytes) {
  std::error_code error;
  if (const uint64_t size = fs::file_size(path, error); error || size < min_bytes) return false;
  std::ifstream in(path, std::ios::binary);
  std::string begin(header.size(), '\0');
  in.read(begin.data(), static_cast<std::streamsize>(begin.size()));
  return in && begin == header;
}

bool IsModelFile(std::string_view name) {
  if (name.ends_with(".partial")) name.remove_suffix(8);
  return name == kIndexName || (name.starts_with("model") && name.ends_with(".safetensors"));
}

}  // namespace

Status SafetensorsWriter::CheckTensors() const {
  std::set<std::string_view> names;
  for (const TensorInfo& tensor : tensors_) {
    const uint64_t element_bytes = ElementBytes(tensor.format);
    if (element_bytes == 0) {
      return Err(ErrorCode::kUnsupported,
                 "{}: safetensors cannot hold {}; convert to F32, F16 or BF16, or write GGUF",
                 tensor.name, Info(tensor.format).name);
    }
    OCTET_ASSIGN(const uint64_t bytes, CheckedBytes(tensor.shape, element_bytes, tensor.name));
    if (bytes != tensor.bytes) {
      return Err(ErrorCode::kInvalidArgument, "{}: {} of {} takes {} bytes, not {}", tensor.name,
                 ShapeString(tensor.shape), Info(tensor.format).name, bytes, tensor.bytes);
    }
    if (tensor.name == "__metadata__" || !names.insert(tensor.name).second) {
      return Err(ErrorCode::kInvalidArgument, "tensor name {} is taken", tensor.name);
    }
  }
  return {};
}

Status SafetensorsWriter::PlanShards(const SafetensorsWriterOptions& options) {
  OCTET_TRY(CheckTensors());
  shards_.emplace_back();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const Shard& last = shards_.back();
    if (i > last.first && last.data_bytes + tensors_[i].bytes > options.max_shard_bytes) {
      shards_.push_back({{}, i, i, {}, 0});
    }
    shards_.back().end = i + 1;
    shards_.back().data_bytes += tensors_[i].bytes;
    bytes_total_ += tensors_[i].bytes;
  }
  for (size_t i = 0; i < shards_.size(); ++i) {
    Shard& shard = shards_[i];
    shard.name = shards_.size() == 1
                     ? kWholeName
                     : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards_.size());
    shard.header = EncodeHeader(std::span(tensors_).subspan(shard.first, shard.end - shard.first),
                                options.metadata);
    if (shard.header.size() > kMaxHeaderBytes) {
      return Err(ErrorCode::kUnsupported, "{}: a header of {} bytes; at most {} are read back",
                 shard.name, shard.header.size(), kMaxHeaderBytes);
    }
  }
  return {};
}

Result<SafetensorsWriter> SafetensorsWriter::Create(const fs::path& folder,
                                                    std::vector<TensorInfo> tensors,
                                                    const SafetensorsWriterOptions& options) {
  SafetensorsWriter writer;
  writer.folder_ = folder;
  writer.resume_key_ = options.resume_key;
  writer.sync_bytes_ = options.sync_bytes;
  writer.tensors_ = std::move(tensors);
  OCTET_TRY(writer.PlanShards(options));
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    return Err(ErrorCode::kIo, "{}: cannot make the folder: {}", folder.string(), error.message());
  }
  writer.next_ = writer.Resumable(writer.SavedProgress());
  if (writer.next_ == 0) {
    OCTET_TRY(writer.ClearFolder(options.overwrite));
    OCTET_TRY(writer.SaveProgress());
    return writer;
  }
  for (size_t i = 0; i < writer.next_; ++i) writer.bytes_done_ += writer.tensors_[i].bytes;
  while (writer.shard_ < writer.shards_.size() &&
         writer.shards_[writer.shard_].end <= writer.next_) {
    ++writer.shard_;
  }
  return writer;
}

// An unfinished conversion's files go; a finished one's only when that was asked for.
Status SafetensorsWriter::ClearFolder(bool overwrite) const {
  std::error_code error;
  const bool unfinished = fs::exists(folder_ / kProgressName, error);
  std::vector<fs::path> files;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    if (IsModelFile(it->path().filename().string())) files.push_back(it->path());
  }
  if (!files.empty() && !unfinished && !overwrite) {
    return Err(ErrorCode::kInvalidArgument,
               "{}: already holds {}; choose another folder, or ask to overwrite", folder_.string(),
               files.front().filename().string());
  }
  // With the mark in place first, a crash in between leaves nothing that looks whole.
  if (!files.empty()) OCTET_TRY(SaveProgress());
  for (const fs::path& file : files) {
    if (!fs::remove(file, error)) {
      return Err(ErrorCode::kIo, "{}: cannot remove: {}", file.string(), error.message());
    }
  }
  return {};
}

// Tensors that were on disk when the place was last noted; 0 without a note that has our key.
size_t SafetensorsWriter::SavedProgress() const {
  if (resume_key_.empty()) return 0;
  const auto note = ReadJsonFile(folder_ / kProgressName);
  if (!note || !note->is_object() || !note->contains("key") || (*note)["key"] != resume_key_)
    return 0;
  const auto tensors = note->find("tensors");
  if (tensors == note->end() || !tensors->is_number_unsigned()) return 0;
  return std::min<size_t>(tensors->get<size_t>(), tensors_.size());
}

// How many of the `saved` tensors the files bear out: whole shards, then part of one.
size_t SafetensorsWriter::Resumable(size_t saved) const {
  for (const Shard& shard : shards_) {
    if (saved < shard.end) {
      uint64_t bytes = shard.header.size();
      for (size_t i = shard.first; i < saved; ++i) bytes += tensors_[i].bytes;
      const auto partial = AtomicFileWriter::PartialPath(folder_ / shard.name);
      return saved > shard.first && BeginsWith(partial, shard.header, bytes) ? saved : shard.first;
    }
    if (!BeginsWith(folder_ / shard.name, shard.header, shard.header.size() + shard.data_bytes))
      return shard.first;
  }
  return saved;
}

Status SafetensorsWriter::OpenShard() {
  const Shard& shard = shards_[shard_];
  OCTET_ASSIGN(AtomicFileWriter file,
               AtomicFileWriter::Create(folder_ / shard.name, !resume_key_.empty()));
  file_ = std::make_unique<AtomicFileWriter>(std::move(file));
  if (next_ == shard.first) {
    OCTET_TRY(file_->Truncate(0));
    return file_->Write(shard.header);
  }
  uint64_t offset = shard.header.size();
  for (size_t i = shard.first; i < next_; ++i) offset += tensors_[i].bytes;
  return file_->Truncate(offset);
}

Status SafetensorsWriter::Append(std::span<const std::byte> bytes) {
  if (next_ == tensors_.size()) {
    return Err(ErrorCode::kInternal, "{}: more data than the {} tensors", folder_.string(),
               tensors_.size());
  }
  const TensorInfo& tensor = tensors_[next_];
  if (bytes.size() > tensor.bytes - written_) {
    return Err(ErrorCode::kInternal, "{}: {} bytes after {} of {}", tensor.name, bytes.size(),
               written_, tensor.bytes);
  }
  if (file_ == nullptr) OCTET_TRY(OpenShard());
  OCTET_TRY(file_->Write(bytes));
  written_ += bytes.size();
  unsynced_ += bytes.size();
  return written_ == tensor.bytes ? FinishTensor() : Status();
}

Status SafetensorsWriter::FinishTensor() {
  bytes_done_ += tensors_[next_].bytes;
  written_ = 0;
  ++next_;
  if (next_ == shards_[shard_].end) {
    OCTET_TRY(file_->Commit());
    file_.reset();
    ++shard_;
  } else if (unsynced_ >= sync_bytes_) {
    OCTET_TRY(file_->Sync());
  } else {
    return {};
  }
  unsynced_ = 0;
  return SaveProgress();
}

Status SafetensorsWriter::SaveProgress() const {
  const nlohmann::json note = {{"key", resume_key_}, {"tensors", next_}};
  return WriteFileAtomically(
      folder_ / kProgressName,
      note.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

Status SafetensorsWriter::WriteIndex() const {
  std::string json = fmt::format(
      "{{\n  \"metadata\": {{\n    \"total_size\": {}\n  }},\n  \"weight_map\": {{", bytes_total_);
  std::map<std::string, std::string_view> weight_map;
  for (const Shard& shard : shards_) {
    for (size_t i = shard.first; i < shard.end; ++i) weight_map[tensors_[i].name] = shard.name;
  }
  const char* separator = "\n";
  for (const auto& [tensor, shard] : weight_map) {
    json += fmt::format("{}    {}: \"{}\"", std::exchange(separator, ",\n"), Quoted(tensor), shard);
  }
  return WriteFileAtomically(folder_ / kIndexName, json + "\n  }\n}\n");
}

Status SafetensorsWriter::Commit() {
  if (next_ != tensors_.size()) {
    return Err(ErrorCode::kInternal, "{}: {} of {} tensors were written", folder_.string(), next_,
               tensors_.size());
  }
  if (tensors_.empty()) {
    OCTET_TRY(OpenShard());
    OCTET_TRY(file_->Commit());
    file_.reset();
  }
  if (shards_.size() > 1) OCTET_TRY(WriteIndex());
  std::error_code error;
  fs::remove(folder_ / kProgressName, error);
  if (error) {
    return Err(ErrorCode::kIo, "{}: cannot remove: {}", (folder_ / kProgressName).string(),
               error.message());
  }
  return {};
}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_ == nullptr || resume_key_.empty()) return;
  // Best effort: without the note a later writer continues from an earlier one.
  if (file_->Sync()) (void)SaveProgress();
}

}  // namespace octet
