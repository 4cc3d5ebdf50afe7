#include "ops/pack.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace octet {
namespace {

/// Panels a task packs: a few hundred KiB, so that the threads read the file in long runs.
constexpr int64_t kTaskPanels = 8;

void PackPanels(const WeightMatrix& w, int64_t first, int64_t end, std::byte* out) {
  const int64_t panel_bytes = PanelBytes(w.format, w.cols), row_bytes = w.row_bytes();
  for (int64_t p = first; p < end; ++p) {
    const std::byte* rows[kPanelRows] = {};
    for (int64_t r = 0; r < kPanelRows && p * kPanelRows + r < w.rows; ++r) {
      rows[r] = w.data + (p * kPanelRows + r) * row_bytes;
    }
    PackPanel(w.format, rows, w.cols, out + p * panel_bytes);
  }
}

}  // namespace

Layout BestLayout(const KernelTable& kernels, Format format) {
  const bool panels = FindPanel16(format) != nullptr &&
                      kernels.Matmul(format, Layout::kPanel16, Arithmetic::kFast, 1) != nullptr;
  return panels ? Layout::kPanel16 : Layout::kRowMajor;
}

int64_t PackedBytes(const Packing& packing) {
  WeightMatrix packed = packing.source;
  packed.layout = packing.layout;
  return packed.bytes();
}

WeightMatrix Pack(const Packing& packing, std::byte* out, ThreadPool& pool) {
  CHECK(packing.source.layout == Layout::kRowMajor);
  WeightMatrix packed = packing.source;
  packed.layout = packing.layout;
  packed.data = out;
  if (packing.layout == Layout::kRowMajor) {
    std::memcpy(out, packing.source.data, static_cast<size_t>(packing.source.bytes()));
    return packed;
  }
  const int64_t panels = (packed.rows + kPanelRows - 1) / kPanelRows;
  pool.ParallelFor((panels + kTaskPanels - 1) / kTaskPanels, [&](int64_t task, int) {
    PackPanels(packing.source, task * kTaskPanels, std::min(panels, (task + 1) * kTaskPanels), out);
  });
  return packed;
}

}  // namespace octet
