// NumPy .npy files, version 1.0, little endian, C order: how results leave for other tools.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace octet {

/// A float32 or int32 array written row by row; the shape is known beforehand, the file appears
/// whole at Finish() or not at all.
class NpyWriter {
 public:
  enum class Type { kFloat32, kInt32 };
  static Result<NpyWriter> Create(const std::filesystem::path& path, Type type,
                                  const std::vector<int64_t>& shape);

  /// The next values in C order; their type must be the file's (a bug otherwise).
  Status Append(std::span<const float> values);
  Status Append(std::span<const int32_t> values);
  /// kInternal when fewer or more values came than the shape holds.
  Status Finish();

 private:
  AtomicFileWriter file_;
  Type type_ = Type::kFloat32;
  int64_t remaining_ = 0;
};

/// A whole .npy file; `values` of whichever type it has. Errors: kCorrupt, kUnsupported (other
/// types).
struct NpyArray {
  std::vector<int64_t> shape;
  std::vector<float> floats;
  std::vector<int32_t> ints;
};
Result<NpyArray> ReadNpy(const std::filesystem::path& path);

}  // namespace octet
