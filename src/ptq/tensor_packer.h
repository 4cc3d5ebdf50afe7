// Matrices that arrive row after row, turned into the layout a packed file stores them in.
#pragma once

#include <cstddef>
#include <span>

#include "base/buffer.h"
#include "base/result.h"
#include "cpu/thread_pool.h"
#include "io/tensor_source.h"
#include "model/tensor_specs.h"
#include "ops/pack.h"

namespace octet {

/// Gives a planned tensor the layout that `kernels` read fastest, and its size in that.
void PlanLayout(TensorRole role, const KernelTable& kernels, TensorInfo& info);

/// Keeps two buffers of the largest matrix so far.
class TensorPacker {
 public:
  explicit TensorPacker(ThreadPool& pool) : pool_(pool) {}

  /// `info` as PlanLayout left it.
  Status Begin(const TensorInfo& info);
  /// The next bytes of the rows.
  void Add(std::span<const std::byte> rows);
  /// After the last row: info.bytes bytes, valid until the next Begin.
  std::span<const std::byte> Finish();

 private:
  ThreadPool& pool_;
  Buffer rows_, packed_;
  WeightMatrix matrix_;  // in rows_
  Layout layout_ = Layout::kRowMajor;
  int64_t added_ = 0;
};

}  // namespace octet
