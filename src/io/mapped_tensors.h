// The TensorSource of safetensors and .pth files: dense tensors at known offsets of mapped files.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "io/tensor_source.h"

namespace octet {

/// A tensor that is in the file but that nothing here can use: its type or its strides.
struct SkippedTensor {
  std::string name;
  std::string why;  // "type I64"
};

/// Bytes of `shape` with elements of `element_bytes`; kCorrupt, naming `what`, when a dimension is
/// negative or the product leaves 63 bits.
Result<uint64_t> CheckedBytes(const std::vector<int64_t>& shape, uint64_t element_bytes,
                              std::string_view what);

/// Data() gives the bytes where they lie: a float tensor can start at any address, so consumers
/// that need alignment must check and copy.
class MappedTensors final : public TensorSource {
 public:
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* Find(std::string_view name) const override;
  Result<std::span<const std::byte>> Data(const TensorInfo& info) const override;
  void Release(const TensorInfo& info) const override;

  /// Unusable tensors that a model may do without (integer buffers), in file order.
  const std::vector<SkippedTensor>& skipped() const { return skipped_; }
  /// safetensors' `__metadata__` of all files; the first file that has a key wins.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  std::map<std::string, std::string>& metadata() { return metadata_; }

  /// Where tensors will be added: an owned mapping, or bytes that must outlive this object. Returns
  /// the number Add() takes.
  int AddFile(MappedFile file);
  int AddBytes(std::span<const std::byte> bytes, std::string_view where);
  int n_files() const { return static_cast<int>(files_.size()); }
  std::span<const std::byte> file_bytes(int file) const { return files_[file].bytes; }
  const std::string& file_name(int file) const { return files_[file].where; }

  /// `offset` from the start of the file. kCorrupt when the name is already there, naming both
  /// files.
  Status Add(TensorInfo info, int file, uint64_t offset);
  void Skip(std::string name, std::string why);

 private:
  struct File {
    MappedFile mapping;  // empty when the bytes are the caller's
    std::span<const std::byte> bytes;
    std::string where;
  };
  struct Place {
    int file = 0;
    uint64_t offset = 0;
  };
  const Place& PlaceOf(const TensorInfo& info) const;

  std::vector<File> files_;
  std::vector<TensorInfo> tensors_;
  std::vector<Place> places_;  // of tensors_, by index
  std::map<std::string, size_t, std::less<>> index_;
  std::vector<SkippedTensor> skipped_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace octet
