#include "ops/linear.h"

#include <algorithm>

#include "base/check.h"

namespace octet {
namespace {

// A tile's weights stay in the level-2 cache (1–2 MiB a core) while its tokens pass, and are long
// enough for the prefetcher; 128 KiB is also small enough to balance two threads over one matrix.
constexpr int64_t kTileBytes = 128 * 1024;
constexpr int64_t kRowMultiple = 8;  // whole register blocks of every kernel
// Tokens a tile takes at once: long prompts against few rows (a router) still split.
constexpr int64_t kTileTokens = 256;

/// How one task falls into tiles. Depends on shapes alone, never on the threads.
struct Tiling {
  const LinearTask* task;
  const KernelDescriptor* kernel;
  int64_t tile_rows, row_tiles, token_tiles;
  int64_t first;  // number of this task's first tile among all tasks'
};

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

Tiling MakeTiling(const LinearTask& task, const Context& context, int64_t first) {
  const WeightMatrix& w = *task.w;
  const KernelDescriptor* kernel =
      context.kernels
          .matmul[static_cast<size_t>(w.format)][static_cast<size_t>(context.arithmetic)];
  const int64_t tokens = task.x.shape[0];
  CHECK(task.x.shape[1] == w.cols && task.y.shape[1] == w.rows && task.y.shape[0] == tokens);
  CHECK(kernel->layout == w.layout);
  const int64_t fitting = kTileBytes / std::max<int64_t>(w.row_bytes(), 1);
  const int64_t tile_rows = std::max(fitting / kRowMultiple * kRowMultiple, kRowMultiple);
  return {&task,
          kernel,
          tile_rows,
          tokens == 0 ? 0 : CeilDiv(w.rows, tile_rows),
          CeilDiv(tokens, kTileTokens),
          first};
}

void RunTile(const Tiling& tiling, int64_t tile, float* scratch) {
  const LinearTask& task = *tiling.task;
  const WeightMatrix& w = *task.w;
  const int64_t row = tile % tiling.row_tiles * tiling.tile_rows;
  const int64_t token = tile / tiling.row_tiles * kTileTokens;
  const int64_t row_bytes = w.row_bytes();
  tiling.kernel->matmul({.w = w.data + row * row_bytes,
                         .w_row_bytes = row_bytes,
                         .rows = std::min(tiling.tile_rows, w.rows - row),
                         .cols = w.cols,
                         .x = task.x.data + token * task.x.stride[0],
                         .x_stride = task.x.stride[0],
                         .y = task.y.data + token * task.y.stride[0] + row,
                         .y_stride = task.y.stride[0],
                         .tokens = std::min(kTileTokens, task.x.shape[0] - token),
                         .decode = Info(w.format).decode,
                         .scratch = scratch});
}

}  // namespace

void Linear(std::span<const LinearTask> tasks, Context& context) {
  const Arena::Scope scope(context.scratch);
  auto* tilings = context.scratch.Allocate<Tiling>(static_cast<int64_t>(tasks.size()));
  int64_t tiles = 0, scratch_floats = 0;
  for (size_t i = 0; i < tasks.size(); ++i) {
    tilings[i] = MakeTiling(tasks[i], context, tiles);
    tiles += tilings[i].row_tiles * tilings[i].token_tiles;
    scratch_floats = std::max<int64_t>(scratch_floats, tilings[i].kernel->scratch_floats);
  }
  scratch_floats = CeilDiv(scratch_floats, 16) * 16;  // each worker's part starts a cache line
  auto* scratch = context.scratch.Allocate<float>(scratch_floats * context.pool.threads());
  context.pool.ParallelFor(tiles, [&](int64_t tile, int worker) {
    // The last task whose first tile is not beyond this one (tasks without tiles are skipped).
    const Tiling* tiling =
        std::upper_bound(tilings, tilings + tasks.size(), tile,
                         [](int64_t t, const Tiling& other) { return t < other.first; }) -
        1;
    RunTile(*tiling, tile - tiling->first, scratch + worker * scratch_floats);
  });
}

}  // namespace octet
