// Writes GGUF v3: the header with every tensor's place first, then the tensors one after another.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "io/gguf.h"

namespace octet {

/// All bytes before the first tensor's data, padding included. Shapes are as in TensorInfo
/// (outermost first); `bytes` of each must match its shape, format and layout; layouts other than
/// rows must be in kPackedLayoutsKey.
std::string EncodeGgufHeader(const GgufMetadata& metadata, std::span<const TensorInfo> tensors);

/// Where tensors may begin in a file that holds these: multiples of so many bytes.
uint64_t GgufAlignment(std::span<const TensorInfo> tensors);
/// Bytes a tensor takes in a GGUF, with the padding after it.
uint64_t GgufPaddedBytes(uint64_t tensor_bytes, uint64_t alignment = 32);

/// Streams one file to `path` + ".partial", renamed by Commit(). Whatever stops it before then, the
/// partial file stays, so that a later writer of the same header continues after its last whole
/// tensor.
class GgufWriter {
 public:
  /// With `resume`, an existing partial file must begin with the very header this one would get:
  /// anything else is kInvalidArgument. Without, it is overwritten.
  static Result<GgufWriter> Create(const std::filesystem::path& path, const GgufMetadata& metadata,
                                   std::vector<TensorInfo> tensors, bool resume);

  /// Tensors that are whole: the next Append is the beginning of tensors()[tensors_done()], unless
  /// it is in the middle of it.
  size_t tensors_done() const { return next_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }

  /// The next bytes of the current tensor, in pieces of any size that does not cross into another.
  Status Append(std::span<const std::byte> bytes);
  /// What was written is on the disk.
  Status Sync() { return file_.Sync(); }
  /// kInternal when tensors are missing.
  Status Commit();

 private:
  GgufWriter() = default;
  Status ContinueAfter(uint64_t header_bytes);

  AtomicFileWriter file_;
  std::filesystem::path path_;
  std::vector<TensorInfo> tensors_;
  uint64_t alignment_ = 0;
  size_t next_ = 0;
  uint64_t written_ = 0;  // of the current tensor
};

}  // namespace octet
