// Writes a model as safetensors: one file or numbered shards with their index, in bounded memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "io/tensor_source.h"

namespace octet {

struct SafetensorsWriterOptions {
  /// A shard is closed before the tensor that would take its data past this; one larger tensor gets
  /// a shard of its own. The default is what Hugging Face writes.
  uint64_t max_shard_bytes = 5'000'000'000;
  /// `__metadata__` of every shard. transformers refuses files without "format".
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
  /// What identifies the conversion (source files, target type). An unfinished earlier writer with
  /// the same key, tensors and options is continued. Empty: never.
  std::string resume_key;
  /// Removes a finished model's safetensors from the folder first; otherwise they are an error.
  bool overwrite = false;
  /// How many bytes may be lost to a crash: data is synced, and the place noted, this often.
  uint64_t sync_bytes = 256u << 20;
};

/// Takes all tensors up front, then their bytes in that order. Files appear under their names only
/// when whole: `model.safetensors`, or `model-00001-of-0000N.safetensors` … and at last
/// `model.safetensors.index.json`. Until Commit the folder also has kProgressName, which marks it
/// as unfinished.
class SafetensorsWriter {
 public:
  static constexpr char kProgressName[] = "octet-unfinished.json";

  /// Makes the folder if need be. kUnsupported for a block-quantised format; kInvalidArgument for
  /// a repeated name, `bytes` that do not fit the shape, or a folder that already holds a model.
  static Result<SafetensorsWriter> Create(const std::filesystem::path& folder,
                                          std::vector<TensorInfo> tensors,
                                          const SafetensorsWriterOptions& options = {});
  /// Notes how far it came, so that a later writer can continue there.
  ~SafetensorsWriter();
  SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
  SafetensorsWriter& operator=(SafetensorsWriter&&) = delete;

  /// Tensors that are whole: the next Append is the beginning of tensors()[tensors_done()], unless
  /// it is in the middle of it. Above zero after Create when an earlier writer is continued.
  size_t tensors_done() const { return next_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  /// Data bytes of whole tensors, and of all.
  uint64_t bytes_done() const { return bytes_done_; }
  uint64_t bytes_total() const { return bytes_total_; }

  /// The next bytes of the current tensor, in pieces of any size that does not cross into another.
  /// A tensor of no bytes takes one empty piece.
  Status Append(std::span<const std::byte> bytes);
  /// Writes the index (when there are several shards) and takes the mark of the unfinished away.
  /// kInternal when tensors are missing.
  Status Commit();

 private:
  struct Shard {
    std::string name;
    size_t first = 0, end = 0;  // tensors [first, end)
    std::string header;         // all bytes before the data
    uint64_t data_bytes = 0;
  };

  SafetensorsWriter() = default;
  Status CheckTensors() const;
  Status PlanShards(const SafetensorsWriterOptions& options);
  Status ClearFolder(bool overwrite) const;
  size_t SavedProgress() const;
  size_t Resumable(size_t saved) const;
  Status OpenShard();
  Status FinishTensor();
  Status SaveProgress() const;
  Status WriteIndex() const;

  std::filesystem::path folder_;
  std::string resume_key_;
  uint64_t sync_bytes_ = 0;
  std::vector<TensorInfo> tensors_;
  std::vector<Shard> shards_;
  std::unique_ptr<AtomicFileWriter> file_;  // of shards_[shard_]; null until its first byte
  size_t shard_ = 0;
  size_t next_ = 0;
  uint64_t written_ = 0;   // of tensors_[next_]
  uint64_t unsynced_ = 0;  // since the place was last noted
  uint64_t bytes_done_ = 0;
  uint64_t bytes_total_ = 0;
};

}  // namespace octet
