// Re-tiles weights from the file's order to the layout that the fastest kernels read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/thread_pool.h"
#include "kernels/registry.h"
#include "tensor/weight_matrix.h"

namespace octet {

/// The layout in which `kernels` multiply the format fastest: kPanel16 where a kernel reads it,
/// else kRowMajor (nothing to pack). Results are the same bits either way.
Layout BestLayout(const KernelTable& kernels, Format format);

/// `source` (row-major) in another layout.
struct Packing {
  WeightMatrix source;
  Layout layout;
};
/// Bytes Pack writes.
int64_t PackedBytes(const Packing& packing);

/// Packs into `out` (PackedBytes, 64-byte aligned), panels spread over the threads, and returns the
/// matrix there. The source is read once, in order, and may be unmapped afterwards.
WeightMatrix Pack(const Packing& packing, std::byte* out, ThreadPool& pool);

}  // namespace octet
