// Span attention in floats (SpanProducts::kFloats) but for its two loops, which an instruction set
// brings. Few queries, as in decoding, take keys and values as they come from memory, from register
// to register, while the next chunk is asked for. Prompts share each converted chunk among many
// blocks of queries; the loops are the same.
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx2/exp2.h"
#include "kernels/x86_avx2/kv_rows.h"

namespace octet {
namespace {

constexpr float kLowest = -3.402823466e+38f;
constexpr int32_t kStepKeys = 16;      // chunks are walked in multiples of this
constexpr int32_t kBlockQueries = 6;   // that take converted keys together
constexpr int32_t kStreamQueries = 8;  // up to so many take keys as they lie
constexpr int32_t kTileQueries = 4 * kBlockQueries;
constexpr int32_t kTileKeys = 32;  // taken by all blocks of a tile while they are near

/// Memory of one call, in AttendSpanArgs::scratch.
struct alignas(64) Work {
  float keys[kSpanChunk * kSpanHeadDimMax];  // converted
  float values[kSpanChunk * kSpanHeadDimMax];
  float queries[kSpanQueries * kSpanHeadDimMax];
  float weights[kTileQueries][kSpanChunk];  // scores before
  float factor[kTileQueries];               // of the sums so far
  std::byte zeros[kSpanHeadDimMax * sizeof(float)];
  const std::byte* rows[2][2][kSpanChunk];    // of this chunk and the next: keys, values
  const std::byte* converted[2][kSpanChunk];  // where keys and values are
};

inline int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t Most(int64_t a, int64_t b) { return a > b ? a : b; }

/// Keys of a chunk, relative to it: [first, last) are walked, multiples of kStepKeys; of these the
/// rows see some of [begin, end).
struct Range {
  int64_t base;
  int32_t begin, end, first, last;
};

/// Keys or values of a chunk, and those of the next, to be asked for meanwhile: memory is the
/// slower side of decoding, and rests whenever nothing is asked of it.
struct Lines {
  const std::byte* const* rows;
  const std::byte* const* later;  // or null
};

inline void Ask(const Lines& lines, int32_t row, int64_t offset) {
  if (lines.later == nullptr) return;
  _mm_prefetch(reinterpret_cast<const char*>(lines.later[row] + offset), _MM_HINT_T1);
}

/// The canonical tree of kernel.h; lanes 0–7 and 8–15.
inline float SumLanes(__m256 low, __m256 high) {
  const __m256 eight = _mm256_add_ps(low, high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

inline float Greatest(__m256 x) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/// Which of keys [j, j + 8) the query sees.
template <bool kMasked>
__m256 Seen(const Range& range, int32_t j) {
  if (!kMasked) return _mm256_castsi256_ps(_mm256_set1_epi32(-1));
  const __m256i index =
      _mm256_add_epi32(_mm256_set1_epi32(j), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  return _mm256_castsi256_ps(
      _mm256_and_si256(_mm256_cmpgt_epi32(index, _mm256_set1_epi32(range.begin - 1)),
                       _mm256_cmpgt_epi32(_mm256_set1_epi32(range.end), index)));
}

/// A query's scores of keys [first, last) to weights, in place; of these it sees [begin, end).
/// Updates m and l, returns the factor of what was summed before.
template <bool kMasked>
float Weigh(const Range& range, float* weights, float* m, float* l) {
  const __m256 lowest = _mm256_set1_ps(kLowest);
  __m256 most[2] = {_mm256_set1_ps(*m), _mm256_set1_ps(*m)};
  for (int32_t j = range.first; j < range.last; j += kStepKeys) {
    for (int i = 0; i < 2; ++i) {
      __m256 s = _mm256_load_ps(weights + j + 8 * i);
      if (kMasked) s = _mm256_blendv_ps(lowest, s, Seen<kMasked>(range, j + 8 * i));
      most[i] = _mm256_max_ps(s, most[i]);  // not s where it is NaN
    }
  }
  const float greatest = Greatest(_mm256_max_ps(most[0], most[1]));
  const __m256 max = _mm256_set1_ps(greatest);
  __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int32_t j = range.first; j < range.last; j += kStepKeys) {
    for (int i = 0; i < 2; ++i) {
      __m256 p = Exp2(_mm256_sub_ps(_mm256_load_ps(weights + j + 8 * i), max));
      if (kMasked) p = _mm256_and_ps(p, Seen<kMasked>(range, j + 8 * i));
      sum[i] = _mm256_add_ps(sum[i], p);
      _mm256_store_ps(weights + j + 8 * i, p);
    }
  }
  const float factor = _mm256_cvtss_f32(Exp2(_mm256_set1_ps(*m - greatest)));
  *m = greatest;
  *l = __builtin_fmaf(*l, factor, SumLanes(sum[0], sum[1]));
  return factor;
}

template <class Rows>
void Convert(const std::byte* row, int32_t head_dim, float* out) {
  for (int32_t d = 0; d < head_dim; d += kRowBlock, row += Rows::kBytes, out += kRowBlock) {
    const auto scale = Rows::ScaleOf(row);
    for (int i = 0; i < 4; ++i) _mm256_store_ps(out + 8 * i, Rows::Load(row, i, scale));
  }
}

/// Loops has kStreamBlock, how many queries take keys together that are converted on the way; and
/// by format and queries (from 1 on), kScores: of queries and keys [first, last) of a chunk;
/// kValues: acc · factor + weights · values. Converted are rows of floats, as Loops reads them.
template <class Loops, class Rows, class Converted>
class FloatSpan {
 public:
  explicit FloatSpan(const AttendSpanArgs& args)
      : args_(args),
        work_(*reinterpret_cast<Work*>(args.scratch)),
        queries_(args.rows * args.group) {}

  void Run() {
    Start();
    if (queries_ <= kStreamQueries) {
      RunStream();
    } else {
      RunTiles();
    }
  }

 private:
  int64_t FirstKey(int64_t position) const {
    return args_.window > 0 ? Most(0, position - args_.window + 1) : 0;
  }

  /// First and one past the last key of the span that any row sees.
  int64_t SpanFirst() const { return Most(args_.begin, FirstKey(args_.first_position)); }
  int64_t SpanEnd() const { return Least(args_.end, args_.first_position + args_.rows); }
  int64_t FirstChunk() const { return SpanFirst() / kSpanChunk * kSpanChunk; }

  static void Walk(Range* range) {
    range->first = range->begin / kStepKeys * kStepKeys;
    range->last = (range->end + kStepKeys - 1) / kStepKeys * kStepKeys;
  }

  /// The chunk at `base`, cut at `end`.
  Range RangeOf(int64_t base, int64_t end) const {
    Range r;
    r.base = base;
    r.begin = static_cast<int32_t>(Most(SpanFirst() - base, 0));
    r.end = static_cast<int32_t>(Least(end - base, kSpanChunk));
    Walk(&r);
    return r;
  }

  /// Where the chunk's keys and values lie; zeros for all that are not seen, as some are walked and
  /// others asked for.
  void FindRows(const Range& range, const std::byte* (*rows)[kSpanChunk]) const {
    for (int32_t j = 0; j < range.begin; ++j) rows[0][j] = rows[1][j] = work_.zeros;
    for (int32_t j = range.end; j < kSpanChunk; ++j) rows[0][j] = rows[1][j] = work_.zeros;
    int64_t page = (range.base + range.begin) / args_.page_tokens;
    int64_t token = (range.base + range.begin) % args_.page_tokens;
    for (int32_t j = range.begin; j < range.end; ++page, token = 0) {
      int64_t offset = args_.head_offset + token * args_.row_bytes;
      const auto n = static_cast<int32_t>(Least(args_.page_tokens - token, range.end - j));
      for (const int32_t end = j + n; j < end; ++j, offset += args_.row_bytes) {
        rows[0][j] = args_.k_pages[page] + offset;
        rows[1][j] = args_.v_pages[page] + offset;
      }
    }
  }

  /// Scaled queries, and no key seen.
  void Start() {
    for (std::byte& zero : work_.zeros) zero = std::byte{0};
    const __m256 scale = _mm256_set1_ps(args_.scale * 1.44269504f);
    float* out = work_.queries;
    float* acc = args_.acc;
    for (int32_t query = 0; query < queries_; ++query) {
      const float* q =
          args_.q + query / args_.group * args_.q_stride + query % args_.group * args_.head_dim;
      for (int32_t d = 0; d < args_.head_dim; d += 8, out += 8, acc += 8) {
        _mm256_store_ps(out, _mm256_mul_ps(_mm256_loadu_ps(q + d), scale));
        _mm256_storeu_ps(acc, _mm256_setzero_ps());
      }
      args_.m[query] = kLowest;
      args_.l[query] = 0;
    }
  }

  /// Calls work(first, n) for blocks of at most `most` of n_all queries, as equal as can be.
  template <class Work>
  static void ForEachBlock(int32_t n_all, int32_t most, Work work) {
    const int32_t blocks = (n_all + most - 1) / most;
    for (int32_t i = 0; i < blocks; ++i) {
      const int32_t first = n_all * i / blocks;
      work(first, n_all * (i + 1) / blocks - first);
    }
  }

  /// Calls work(first, last) for the keys of a range, as many as stay near.
  template <class Work>
  static void ForEachNear(const Range& range, Work work) {
    for (int32_t j = range.first; j < range.last; j += kTileKeys)
      work(j, static_cast<int32_t>(Least(j + kTileKeys, range.last)));
  }

  /// Scores of the n queries of a tile from `query` on, in blocks of `block`.
  template <class Taken>
  void ScoreTile(int32_t query, int32_t n, int32_t block, const Range& range, const Lines& keys) {
    ForEachNear(range, [&](int32_t first, int32_t last) {
      ForEachBlock(n, block, [&](int32_t q, int32_t rows) {
        // The first block asks for all.
        Loops::template kScores<Taken>[rows - 1](
            {keys.rows, q == 0 ? keys.later : nullptr},
            work_.queries + int64_t{query + q} * args_.head_dim, first, last, args_.head_dim,
            work_.weights[q]);
      });
    });
  }

  void WeighTile(int32_t query, int32_t n, const Range& range) {
    for (int32_t q = 0; q < n; ++q) {
      const int64_t position = args_.first_position + (query + q) / args_.group;
      Range own = range;
      own.begin = static_cast<int32_t>(
          Most(range.begin, Least(FirstKey(position) - range.base, kSpanChunk)));
      own.end = static_cast<int32_t>(Least(range.end, Most(position + 1 - range.base, 0)));
      const bool masked = own.begin > own.first || own.end < own.last;
      work_.factor[q] =
          (masked ? Weigh<true> : Weigh<false>)(own, work_.weights[q], args_.m + query + q,
                                                args_.l + query + q);
    }
  }

  template <class Taken>
  void AddTile(int32_t query, int32_t n, int32_t block, const Range& range, const Lines& values) {
    ForEachNear(range, [&](int32_t first, int32_t last) {
      ForEachBlock(n, block, [&](int32_t q, int32_t rows) {
        Loops::template kValues<Taken>[rows - 1](
            {values.rows, q == 0 ? values.later : nullptr}, work_.weights[q], first, last,
            args_.head_dim, work_.factor + q, args_.acc + int64_t{query + q} * args_.head_dim);
      });
      for (int32_t q = 0; q < n; ++q) work_.factor[q] = 1;  // applied
    });
  }

  // ---- A few queries: keys and values are used as they are read.

  void RunStream() {
    int current = 0;
    Range range = RangeOf(FirstChunk(), SpanEnd());
    FindRows(range, work_.rows[0]);
    while (range.base < SpanEnd()) {
      // After the span's last chunk come those of the next span, most likely on this thread too.
      const int64_t next_base = range.base + kSpanChunk, end = args_.first_position + args_.rows;
      const Range next = RangeOf(next_base, next_base < SpanEnd() ? SpanEnd() : end);
      const std::byte* const(*rows)[kSpanChunk] = work_.rows[current];
      const std::byte*(*later)[kSpanChunk] = work_.rows[1 - current];
      const bool ends = next_base >= end;
      if (!ends) FindRows(next, later);
      ScoreTile<Rows>(0, queries_, Loops::kStreamBlock, range,
                      {rows[0], ends ? nullptr : later[0]});
      WeighTile(0, queries_, range);
      AddTile<Rows>(0, queries_, Loops::kStreamBlock, range, {rows[1], ends ? nullptr : later[1]});
      range = next;
      current = 1 - current;
    }
  }

  // ---- Many queries: each chunk is converted once and taken by one tile of them after another.

  void RunTiles() {
    for (int32_t j = 0; j < kSpanChunk; ++j) {
      work_.converted[0][j] = reinterpret_cast<std::byte*>(work_.keys + j * args_.head_dim);
      work_.converted[1][j] = reinterpret_cast<std::byte*>(work_.values + j * args_.head_dim);
    }
    for (int64_t base = FirstChunk(); base < SpanEnd(); base += kSpanChunk) {
      const Range range = RangeOf(base, SpanEnd());
      FindRows(range, work_.rows[0]);
      for (int32_t j = range.first; j < range.last; ++j) {
        Convert<Rows>(work_.rows[0][0][j], args_.head_dim, work_.keys + j * args_.head_dim);
        Convert<Rows>(work_.rows[0][1][j], args_.head_dim, work_.values + j * args_.head_dim);
      }
      for (int32_t query = 0; query < queries_; query += kTileQueries)
        RunTile(query, static_cast<int32_t>(Least(kTileQueries, queries_ - query)), range);
    }
  }

  void RunTile(int32_t query, int32_t n, Range range) {
    // Only the keys that these queries see.
    const int64_t begin = FirstKey(args_.first_position + query / args_.group) - range.base;
    const int64_t end = args_.first_position + (query + n - 1) / args_.group + 1 - range.base;
    range.begin = static_cast<int32_t>(Most(range.begin, Least(begin, kSpanChunk)));
    range.end = static_cast<int32_t>(Least(range.end, Most(end, 0)));
    if (range.begin >= range.end) return;
    Walk(&range);
    ScoreTile<Converted>(query, n, kBlockQueries, range, {work_.converted[0], nullptr});
    WeighTile(query, n, range);
    AddTile<Converted>(query, n, kBlockQueries, range, {work_.converted[1], nullptr});
  }

  const AttendSpanArgs& args_;
  Work& work_;
  const int32_t queries_;
};

inline void MergeSpan(const MergeSpanArgs& args) {
  for (int64_t query = 0; query < args.queries; ++query) {
    const __m256 m = _mm256_set1_ps(args.m[query]), part_m = _mm256_set1_ps(args.part_m[query]);
    const __m256 most = _mm256_max_ps(part_m, m);
    const __m256 own = Exp2(_mm256_sub_ps(m, most)), part = Exp2(_mm256_sub_ps(part_m, most));
    args.m[query] = _mm256_cvtss_f32(most);
    args.l[query] =
        _mm256_cvtss_f32(_mm256_fmadd_ps(_mm256_set1_ps(args.part_l[query]), part,
                                         _mm256_mul_ps(_mm256_set1_ps(args.l[query]), own)));
    float* acc = args.acc + query * args.head_dim;
    const float* part_acc = args.part_acc + query * args.head_dim;
    for (int64_t d = 0; d < args.head_dim; d += 8) {
      _mm256_storeu_ps(acc + d, _mm256_fmadd_ps(_mm256_loadu_ps(part_acc + d), part,
                                                _mm256_mul_ps(_mm256_loadu_ps(acc + d), own)));
    }
  }
}

}  // namespace
}  // namespace octet
