// The bytes of one output tensor, made piece by piece from the source: reordered, transposed,
// re-encoded.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/function_ref.h"
#include "base/result.h"
#include "cpu/thread_pool.h"
#include "io/tensor_source.h"
#include "ptq/importance.h"
#include "ptq/tensor_plan.h"

namespace octet {

/// How blocks are written where the formats differ.
enum class Encoding : uint8_t {
  kPlain,     // direct rounding
  kSearched,  // scales chosen for little error
};

/// Keeps its buffers (a few tens of MiB) from tensor to tensor.
class TensorStreamer {
 public:
  using Sink = FunctionRef<Status(std::span<const std::byte>)>;

  /// `importance` may be null; it is used by searched encodings.
  TensorStreamer(const TensorSource& source, ThreadPool& pool, Encoding encoding,
                 const ImportanceMatrix* importance = nullptr)
      : source_(source), pool_(pool), encoding_(encoding), importance_(importance) {}

  /// Calls `sink` with the tensor's bytes from first to last, and releases the source's pages
  /// behind it. Rows are decoded to float and encoded again only where the formats differ. Errors:
  /// those of `sink` and of reading; kUnsupported for values that the output's format cannot hold.
  Status Stream(const PlannedTensor& tensor, Sink sink);

 private:
  Status FindColumnWeights(const PlannedTensor& tensor, size_t slice);
  Status StreamSlice(const PlannedTensor& tensor, const SourceSlice& slice, Sink sink);
  /// Rows [begin, end) of the slice in output order, contiguous in the source's format.
  std::span<const std::byte> Gather(const PlannedTensor& tensor, const SourceSlice& slice,
                                    std::span<const std::byte> data, int64_t begin, int64_t end);
  /// `values` values of `rows` equal rows, from one format to the other.
  Result<std::span<const std::byte>> Recode(std::span<const std::byte> rows, Format from,
                                            const TensorInfo& to, int64_t values, int64_t cols);

  const TensorSource& source_;
  ThreadPool& pool_;
  Encoding encoding_;
  const ImportanceMatrix* importance_;
  std::vector<float> column_weights_;  // [cols] of the slice; empty: all the same
  std::vector<std::byte> gathered_, encoded_;
  std::vector<float> values_;
};

}  // namespace octet
