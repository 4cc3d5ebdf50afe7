#include "ops/linear.h"

#include <algorithm>

#include "base/check.h"
#include "ops/lora.h"
#include "ops/tile_linear.h"

namespace octet {
namespace {

// Few tokens: a tile is one stretch of memory to stream, as long as it can be without leaving a
// thread waiting for the last one: its start is cold, which costs as much as 10 KiB.
constexpr int64_t kStreamTiles = 64, kLeastStreamTile = 128 * 1024, kMostStreamTile = 1024 * 1024;
// Many tokens: enough rows that activations, once in the first-level cache, serve many of them; of
// small matrices fewer, for otherwise threads have none.
constexpr int64_t kManyTokens = 33, kManyTiles = 8, kLeastManyRows = 128, kMostManyRows = 512;
// Tokens a tile takes at once: long prompts against few rows (a router) still split.
constexpr int64_t kTileTokens = 256;
// Blocks of activations that one thread quantises sooner (60 ns each) than two start (2 µs).
constexpr int64_t kSerialBlocks = 64;
// Of them, a task's at least: taking one costs as much as a block.
constexpr int64_t kTaskBlocks = 16;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Rows made ready for one or more tasks; block b of token t is blocks[b * tokens + t].
struct BlockedInput {
  View<const float, 2> x;
  Activations kind;
  void* blocks;  // ActivationBlock or RoundedBlock
};

/// How one task falls into tiles. Depends on shapes alone, never on the threads.
struct Tiling {
  const LinearTask* task;
  const KernelDescriptor* kernel;
  const void* blocks;  // of a BlockedInput, for kernels that take one
  int64_t tile_rows, row_tiles, token_tiles;
  int64_t first = 0;  // number of this task's first tile among all tasks'
};

/// How large the tiles of few tokens are, and of many.
struct TileSizes {
  int64_t stream_bytes, many_rows;
};

TileSizes SizesOf(std::span<const LinearTask> tasks) {
  int64_t bytes = 0, rows = 0;
  for (const LinearTask& task : tasks) {
    bytes += task.x.shape[0] > 0 ? task.w->bytes() : 0;
    rows += task.x.shape[0] > 0 ? task.w->rows : 0;
  }
  return {std::clamp(bytes / kStreamTiles, kLeastStreamTile, kMostStreamTile),
          std::clamp(rows / kManyTiles, kLeastManyRows, kMostManyRows)};
}

Tiling MakeTiling(const LinearTask& task, const Context& context, const TileSizes& sizes) {
  const WeightMatrix& w = *task.w;
  const int64_t tokens = task.x.shape[0];
  const KernelDescriptor* kernel =
      context.kernels.Matmul(w.format, w.layout, context.arithmetic, tokens);
  CHECK(kernel != nullptr);
  CHECK(task.x.shape[1] == w.cols && task.y.shape[1] == w.rows && task.y.shape[0] == tokens);
  const int64_t streamed = sizes.stream_bytes / std::max<int64_t>(w.row_bytes(), 1);
  const int64_t rows = tokens >= kManyTokens ? sizes.many_rows : streamed;
  // Of equal size.
  const int64_t panels = std::max<int64_t>(CeilDiv(w.rows, kPanelRows), 1);
  const int64_t parts = CeilDiv(panels, std::max<int64_t>(CeilDiv(rows, kPanelRows), 1));
  const int64_t tile_rows = CeilDiv(panels, parts) * kPanelRows;
  return {&task,
          kernel,
          nullptr,
          tile_rows,
          tokens == 0 ? 0 : CeilDiv(w.rows, tile_rows),
          CeilDiv(tokens, kTileTokens)};
}

/// Numbers the tiles, those of most tokens first: a long one that is begun last is waited for. How
/// many there are.
int64_t OrderTilings(std::span<Tiling> tilings) {
  std::ranges::sort(tilings, [](const Tiling& a, const Tiling& b) {
    const int64_t of_a = a.task->x.shape[0], of_b = b.task->x.shape[0];
    return of_a != of_b ? of_a > of_b : a.task < b.task;
  });
  int64_t tiles = 0;
  for (Tiling& tiling : tilings) {
    tiling.first = tiles;
    tiles += tiling.row_tiles * tiling.token_tiles;
  }
  return tiles;
}

bool SameRows(const View<const float, 2>& a, const View<const float, 2>& b) {
  return a.data == b.data && a.shape == b.shape && a.stride == b.stride;
}

void* AllocateBlocks(Activations kind, int64_t blocks, Arena& scratch) {
  if (kind == Activations::kBf16) return scratch.Allocate<RoundedBlock>(blocks + kRoundedPadding);
  return scratch.Allocate<ActivationBlock>(blocks);
}

/// Gives every tiling that takes blocks its input; tasks that share x share it. Returns how many
/// there are.
int64_t AssignInputs(std::span<Tiling> tilings, BlockedInput* inputs, Arena& scratch) {
  int64_t n = 0;
  for (Tiling& tiling : tilings) {
    const Activations kind = tiling.kernel->activations;
    if (kind == Activations::kFloat || tiling.row_tiles == 0) continue;
    const View<const float, 2>& x = tiling.task->x;
    int64_t i = 0;
    while (i < n && !(inputs[i].kind == kind && SameRows(inputs[i].x, x))) ++i;
    if (i == n) {
      const int64_t blocks = x.shape[0] * CeilDiv(x.shape[1], kActivationBlock);
      inputs[n++] = {x, kind, AllocateBlocks(kind, blocks, scratch)};
    }
    tiling.blocks = inputs[i].blocks;
  }
  return n;
}

void MakeBlocks(const BlockedInput& input, int64_t row, const KernelTable& kernels) {
  const int64_t rows = input.x.shape[0], cols = input.x.shape[1];
  const float* x = input.x.data + row * input.x.stride[0];
  if (input.kind == Activations::kBf16) {
    kernels.round->round({x, cols, static_cast<RoundedBlock*>(input.blocks) + row, rows});
    return;
  }
  const QuantizeArgs args = {x, cols, static_cast<ActivationBlock*>(input.blocks) + row, rows};
  if (input.kind == Activations::kInt8) {
    kernels.quantize->quantize(args);
  } else {
    kernels.quantize->quantize32(args);
  }
}

void MakeInputs(std::span<const BlockedInput> inputs, Context& context) {
  int64_t rows = 0, blocks = 0;
  for (const BlockedInput& input : inputs) {
    rows += input.x.shape[0];
    blocks += input.x.shape[0] * CeilDiv(input.x.shape[1], kActivationBlock);
  }
  const auto make_row = [&](int64_t row) {
    const BlockedInput* input = inputs.data();
    for (; row >= input->x.shape[0]; ++input) row -= input->x.shape[0];
    MakeBlocks(*input, row, context.kernels);
  };
  if (blocks <= kSerialBlocks) {
    for (int64_t row = 0; row < rows; ++row) make_row(row);
    return;
  }
  const int64_t task_rows = std::max<int64_t>(1, kTaskBlocks * rows / blocks);
  context.ParallelFor(CeilDiv(rows, task_rows), [&](int64_t task, int) {
    const int64_t end = std::min(rows, (task + 1) * task_rows);
    for (int64_t row = task * task_rows; row < end; ++row) make_row(row);
  });
}

/// The weights of rows [row, …); row is a multiple of the panel's.
const std::byte* RowData(const WeightMatrix& w, int64_t row) {
  return w.layout == Layout::kPanel16 ? w.data + row / kPanelRows * PanelBytes(w.format, w.cols)
                                      : w.data + row * w.row_bytes();
}

void RunTile(const Tiling& tiling, int64_t tile, float* scratch) {
  const LinearTask& task = *tiling.task;
  const WeightMatrix& w = *task.w;
  const int64_t row = tile % tiling.row_tiles * tiling.tile_rows;
  const int64_t token = tile / tiling.row_tiles * kTileTokens;
  const Panel16* panel = FindPanel16(w.format);
  const bool int8 = tiling.kernel->activations == Activations::kInt8 ||
                    tiling.kernel->activations == Activations::kInt8Per32;
  const bool bf16 = tiling.kernel->activations == Activations::kBf16;
  tiling.kernel->matmul(
      {.w = RowData(w, row),
       .w_row_bytes = w.row_bytes(),
       .rows = std::min(tiling.tile_rows, w.rows - row),
       .cols = w.cols,
       .x = task.x.data + token * task.x.stride[0],
       .x_stride = task.x.stride[0],
       .y = task.y.data + token * task.y.stride[0] + row,
       .y_stride = task.y.stride[0],
       .tokens = std::min(kTileTokens, task.x.shape[0] - token),
       .decode = Info(w.format).decode,
       .scratch = scratch,
       .xq = int8 ? static_cast<const ActivationBlock*>(tiling.blocks) + token : nullptr,
       .xq_tokens = task.x.shape[0],
       .xb = bf16 ? static_cast<const RoundedBlock*>(tiling.blocks) + token : nullptr,
       .pack = panel == nullptr ? nullptr : panel->pack,
       .dot = FindIntegerDot(w.format)});
}

}  // namespace

void Linear(std::span<const LinearTask> tasks, Context& context) {
  if (context.arithmetic == Arithmetic::kBf16) {
    TileLinear(tasks, context);
    AddAdapters(tasks, context);
    return;
  }
  const Arena::Scope scope(context.scratch);
  const auto n = static_cast<int64_t>(tasks.size());
  auto* tilings = context.scratch.Allocate<Tiling>(n);
  auto* inputs = context.scratch.Allocate<BlockedInput>(n);
  int64_t scratch_floats = 0;
  const TileSizes sizes = SizesOf(tasks);
  for (int64_t i = 0; i < n; ++i) {
    tilings[i] = MakeTiling(tasks[static_cast<size_t>(i)], context, sizes);
    scratch_floats = std::max<int64_t>(scratch_floats, tilings[i].kernel->scratch_floats);
  }
  const int64_t tiles = OrderTilings({tilings, tasks.size()});
  const int64_t n_inputs = AssignInputs({tilings, tasks.size()}, inputs, context.scratch);
  MakeInputs({inputs, static_cast<size_t>(n_inputs)}, context);

  scratch_floats = CeilDiv(scratch_floats, 16) * 16;  // each worker's part starts a cache line
  auto* scratch = context.scratch.Allocate<float>(scratch_floats * context.pool.threads());
  context.ParallelFor(tiles, [&](int64_t tile, int worker) {
    // The last task whose first tile is not beyond this one (tasks without tiles are skipped).
    const Tiling* tiling =
        std::upper_bound(tilings, tilings + n, tile,
                         [](int64_t t, const Tiling& other) { return t < other.first; }) -
        1;
    RunTile(*tiling, tile - tiling->first, scratch + worker * scratch_floats);
  });
  AddAdapters(tasks, context);
}

}  // namespace octet
