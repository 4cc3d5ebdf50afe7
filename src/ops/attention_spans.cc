#include "ops/attention_spans.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <new>

namespace octet {
namespace {

/// Up to this many queries of a head cost less to compute than their keys to read: threads share
/// the spans of such a tile. With more, each tile walks its spans itself.
constexpr int64_t kFewQueries = 64;

/// Softmax sums of some queries, not yet divided.
struct Sums {
  float *m, *l, *acc;  // [queries], [queries], [queries, head_dim]
};

/// Spans of one tile of rows that are computed by different tasks; the last to finish merges them.
struct SharedTile {
  std::atomic<int64_t> spans_left;
  int64_t first_span, end_span;
  Sums* parts;  // [end_span - first_span]
};

/// One unit of work: rows of a segment against one key/value head and spans [first_span, end_span).
struct Task {
  const AttentionSegment* segment;
  int64_t first, rows;  // within the segment
  int64_t kv_head;
  int64_t first_span, end_span;
  SharedTile* shared;  // nullptr: the task has all spans of its rows
};

struct Worker {
  float* scratch;
  Sums total, part;
};

struct Job {
  const KernelDescriptor& kernel;
  View<const float, 2> q;
  const AttentionShape& shape;
  View<float, 2> out;

  int64_t group() const { return shape.n_heads / shape.n_kv_heads; }
  /// Rows of a prompt that share each converted chunk of keys.
  int64_t tile_rows() const { return kSpanQueries / group(); }
};

Sums AllocateSums(int64_t queries, int64_t head_dim, Arena& arena) {
  return {arena.Allocate<float>(queries), arena.Allocate<float>(queries),
          arena.Allocate<float>(queries * head_dim)};
}

void RunSpan(const Job& job, const Task& task, int64_t span, const Sums& sums, float* scratch) {
  const KvView& kv = task.segment->kv;
  const int64_t d = job.shape.head_dim;
  const View<const float, 1> q = job.q[task.segment->first_row + task.first];
  job.kernel.attend_span({.q = q.data + task.kv_head * job.group() * d,
                          .q_stride = job.q.stride[0],
                          .rows = static_cast<int32_t>(task.rows),
                          .group = static_cast<int32_t>(job.group()),
                          .head_dim = static_cast<int32_t>(d),
                          .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d))),
                          .first_position = task.segment->first_position + task.first,
                          .window = job.shape.sliding_window,
                          .k_pages = kv.k_pages.data(),
                          .v_pages = kv.v_pages.data(),
                          .page_tokens = kv.page_tokens,
                          .head_offset = kv.Offset(0, task.kv_head),
                          .row_bytes = kv.row_bytes(),
                          .begin = span * kSpanKeys,
                          .end = (span + 1) * kSpanKeys,
                          .continues = span > task.first_span,
                          .m = sums.m,
                          .l = sums.l,
                          .acc = sums.acc,
                          .scratch = scratch});
}

void Merge(const Job& job, int64_t queries, const Sums& total, const Sums& part) {
  job.kernel.merge_span({.m = total.m,
                         .l = total.l,
                         .acc = total.acc,
                         .part_m = part.m,
                         .part_l = part.l,
                         .part_acc = part.acc,
                         .queries = queries,
                         .head_dim = job.shape.head_dim});
}

void Divide(const Job& job, const Task& task, const Sums& sums) {
  const int64_t d = job.shape.head_dim, group = job.group();
  for (int64_t r = 0; r < task.rows; ++r) {
    float* row = job.out[task.segment->first_row + task.first + r].data + task.kv_head * group * d;
    const float* acc = sums.acc + r * group * d;
    for (int64_t h = 0; h < group; ++h) {
      const float inverse = 1.0f / sums.l[r * group + h];
      for (int64_t i = h * d; i < (h + 1) * d; ++i) row[i] = acc[i] * inverse;
    }
  }
}

void RunTask(const Job& job, const Task& task, const Worker& worker) {
  const int64_t queries = task.rows * job.group();
  if (task.shared != nullptr) {
    SharedTile& shared = *task.shared;
    for (int64_t span = task.first_span; span < task.end_span; ++span) {
      RunSpan(job, task, span, shared.parts[span - shared.first_span], worker.scratch);
    }
    const int64_t done = task.end_span - task.first_span;
    if (shared.spans_left.fetch_sub(done) != done) return;
    for (int64_t i = 1; i < shared.end_span - shared.first_span; ++i) {
      Merge(job, queries, shared.parts[0], shared.parts[i]);
    }
    Divide(job, task, shared.parts[0]);
    return;
  }
  for (int64_t span = task.first_span; span < task.end_span; ++span) {
    const bool first = span == task.first_span;
    RunSpan(job, task, span, first ? worker.total : worker.part, worker.scratch);
    if (!first) Merge(job, queries, worker.total, worker.part);
  }
  Divide(job, task, worker.total);
}

/// First span that the tile's first row sees, and one past the last row's.
void FindSpans(const Job& job, Task* task) {
  const int64_t position = task->segment->first_position + task->first;
  const int64_t window = job.shape.sliding_window;
  task->first_span = (window > 0 ? std::max<int64_t>(0, position - window + 1) : 0) / kSpanKeys;
  task->end_span = (position + task->rows - 1) / kSpanKeys + 1;
}

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Tasks for the threads to share a tile's spans: runs as long as the threads allow, for the keys
/// stream best in one go. Each span has its own sums, so the cut does not show in the result.
class TaskList {
 public:
  TaskList(const Job& job, std::span<const AttentionSegment> segments, Context& context)
      : job_(job), context_(context) {
    for (const AttentionSegment& segment : segments) {
      n_tiles_ += CeilDiv(segment.rows, job.tile_rows()) * job.shape.n_kv_heads;
    }
    runs_ = CeilDiv(kTasksAThread * context.pool.threads(), std::max<int64_t>(n_tiles_, 1));
    tasks_ = context.scratch.Allocate<Task>(n_tiles_ * runs_);
    for (const AttentionSegment& segment : segments) {
      // The last rows see the most keys: start with them, so that the longest tasks do not end the
      // step.
      for (int64_t i = CeilDiv(segment.rows, job.tile_rows()) - 1; i >= 0; --i) AddTile(segment, i);
    }
  }

  int64_t size() const { return n_; }
  const Task& operator[](int64_t i) const { return tasks_[i]; }

 private:
  static constexpr int64_t kTasksAThread = 8;

  void AddTile(const AttentionSegment& segment, int64_t i) {
    Task task = {};
    task.segment = &segment;
    task.first = i * job_.tile_rows();
    task.rows = std::min(job_.tile_rows(), segment.rows - task.first);
    FindSpans(job_, &task);
    const int64_t spans = task.end_span - task.first_span;
    const int64_t runs =
        task.rows * job_.group() <= kFewQueries ? std::min(runs_, spans) : int64_t{1};
    for (task.kv_head = 0; task.kv_head < job_.shape.n_kv_heads; ++task.kv_head) {
      if (runs == 1) {
        tasks_[n_++] = task;
      } else {
        AddRuns(task, runs);
      }
    }
  }

  void AddRuns(Task task, int64_t runs) {
    Arena& arena = context_.scratch;
    const int64_t first = task.first_span, spans = task.end_span - first;
    task.shared = new (arena.Allocate<SharedTile>(1))
        SharedTile{{spans}, first, task.end_span, arena.Allocate<Sums>(spans)};
    for (int64_t s = 0; s < spans; ++s) {
      task.shared->parts[s] = AllocateSums(task.rows * job_.group(), job_.shape.head_dim, arena);
    }
    for (int64_t run = 0; run < runs; ++run) {
      task.first_span = first + spans * run / runs;
      task.end_span = first + spans * (run + 1) / runs;
      tasks_[n_++] = task;
    }
  }

  const Job& job_;
  Context& context_;
  int64_t n_tiles_ = 0, runs_ = 1, n_ = 0;
  Task* tasks_ = nullptr;
};

}  // namespace

const KernelDescriptor* SpanKernel(const AttentionShape& shape, Format kv_format,
                                   const Context& context) {
  const bool fits = context.arithmetic == Arithmetic::kFast &&
                    shape.head_dim % kSpanHeadDimStep == 0 && shape.head_dim <= kSpanHeadDimMax &&
                    shape.n_heads / shape.n_kv_heads <= kSpanQueries;
  return fits ? context.kernels.attend_span[static_cast<size_t>(kv_format)] : nullptr;
}

void SpanAttention(const KernelDescriptor& kernel, View<const float, 2> q,
                   const AttentionShape& shape, std::span<const AttentionSegment> segments,
                   View<float, 2> out, Context& context) {
  const Arena::Scope scope(context.scratch);
  const Job job{kernel, q, shape, out};
  const TaskList tasks(job, segments, context);
  auto* workers = context.scratch.Allocate<Worker>(context.pool.threads());
  for (int w = 0; w < context.pool.threads(); ++w) {
    workers[w] = {context.scratch.Allocate<float>(kernel.scratch_floats),
                  AllocateSums(kSpanQueries, shape.head_dim, context.scratch),
                  AllocateSums(kSpanQueries, shape.head_dim, context.scratch)};
  }
  context.ParallelFor(tasks.size(),
                      [&](int64_t i, int worker) { RunTask(job, tasks[i], workers[worker]); });
}

}  // namespace octet
