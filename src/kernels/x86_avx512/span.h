// What span attention does beside multiplying (AttendSpanArgs in kernels/kernel.h): which keys a
// row sees and where they lie, asking for lines ahead, the softmax of a chunk.
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx512/exp2.h"
#include "kernels/x86_avx512/sum_lanes.h"

namespace octet {
namespace {

constexpr float kLowest = -3.402823466e+38f;
constexpr int32_t kGroupKeys = 16;    // whose scores are one vector
constexpr int32_t kNearKeys = 16;     // how far ahead lines go to the first-level cache
constexpr int32_t kBlockQueries = 6;  // times four vectors: 24 accumulators
constexpr int32_t kTileQueries = 4 * kBlockQueries;
constexpr int32_t kStreamQueries = 4;  // up to so many take keys and values as they are read
constexpr int64_t kLineBytes = 64;

inline int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t Most(int64_t a, int64_t b) { return a > b ? a : b; }

/// Keys of a chunk, relative to it: [first, last) are walked, multiples of the kernel's step; of
/// these the rows see some of [begin, end).
struct Range {
  int64_t base;
  int32_t begin, end, first, last;
};

/// Rows of the next chunk, asked for while those of this one are used: memory is the slower side
/// of decoding, and rests whenever nothing is asked of it. The 16 rows from one that is a multiple
/// of 16 count as side by side, which they are in pages of such a size; in others a wrong line is
/// asked for. kBytes: of 32 dims of a row.
template <int32_t kBytes>
class Ahead {
 public:
  explicit Ahead(const std::byte* const* rows) : rows_(rows) {}

  /// From here on: 64 dims' share of the 16 rows from `row` on, which eight calls of Ask ask for.
  void Start(int32_t row, int32_t d) {
    next_ = reinterpret_cast<const char*>(rows_[row]) + kGroupKeys * (d / 32 * kBytes);
    AskLines<kLines % 8>();
  }
  void Ask() { AskLines<kLines / 8>(); }

 private:
  static constexpr int kLines = kGroupKeys * 2 * kBytes / kLineBytes;

  template <int N>
  void AskLines() {
    for (int i = 0; i < N; ++i) _mm_prefetch(next_ + i * kLineBytes, _MM_HINT_T1);
    next_ += N * kLineBytes;
  }

  const std::byte* const* rows_;
  const char* next_ = nullptr;
};

/// Asks for the lines of 64 dims of a row, from d on: from the second-level cache, where Ahead let
/// them be put a chunk ago, to the first. Loads that miss it wait for the same buffers as lines
/// from memory.
template <int32_t kBytes>
inline __attribute__((always_inline)) void AskNear(const std::byte* row, int32_t d) {
  const char* line = reinterpret_cast<const char*>(row) + d / 32 * kBytes;
  _mm_prefetch(line, _MM_HINT_T0);
  if (kBytes == kLineBytes) _mm_prefetch(line + kLineBytes, _MM_HINT_T0);
}

/// A query's scores of keys [first, last) to weights, store(j, p) for the 32 from j on; of these it
/// sees [begin, end). Updates m and l, returns the factor of what was summed before.
template <bool kMasked, class Store>
float Weigh(const Range& range, const float* score, float* m, float* l, Store store) {
  constexpr int32_t kStep = 32;
  const auto seen = [&](int32_t j) {
    if (!kMasked) return static_cast<__mmask16>(0xffff);
    const __m512i index =
        _mm512_add_epi32(_mm512_set1_epi32(j),
                         _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    return static_cast<__mmask16>(_mm512_cmpge_epi32_mask(index, _mm512_set1_epi32(range.begin)) &
                                  _mm512_cmplt_epi32_mask(index, _mm512_set1_epi32(range.end)));
  };
  __m512 most[2] = {_mm512_set1_ps(*m), _mm512_set1_ps(*m)};
  for (int32_t j = range.first; j < range.last; j += kStep) {
    for (int i = 0; i < 2; ++i) {
      const __m512 s = _mm512_load_ps(score + j + 16 * i);
      most[i] = _mm512_mask_max_ps(most[i], seen(j + 16 * i), s, most[i]);  // not s where it is NaN
    }
  }
  const float greatest = _mm512_reduce_max_ps(_mm512_max_ps(most[0], most[1]));
  const __m512 max = _mm512_set1_ps(greatest);
  __m512 sum = _mm512_setzero_ps();
  for (int32_t j = range.first; j < range.last; j += kStep) {
    __m512 p[2];
    for (int i = 0; i < 2; ++i) {
      p[i] = Exp2(_mm512_sub_ps(_mm512_load_ps(score + j + 16 * i), max));
      if (kMasked) p[i] = _mm512_maskz_mov_ps(seen(j + 16 * i), p[i]);
      sum = _mm512_add_ps(sum, p[i]);
    }
    store(j, p);
  }
  const float factor = _mm512_cvtss_f32(Exp2(_mm512_set1_ps(*m - greatest)));
  *m = greatest;
  *l = __builtin_fmaf(*l, factor, SumLanes(sum));
  return factor;
}

/// Calls work(first, n) for blocks of at most kBlockQueries of n_all queries, as equal as can be.
template <class Work>
void ForEachBlock(int32_t n_all, Work work) {
  const int32_t blocks = (n_all + kBlockQueries - 1) / kBlockQueries;
  for (int32_t i = 0; i < blocks; ++i) {
    const int32_t first = n_all * i / blocks;
    work(first, n_all * (i + 1) / blocks - first);
  }
}

/// A part of a kernel's scratch.
struct SpanRows {
  std::byte zeros[kSpanHeadDimMax * 2];  // a row of any format
  // Of this chunk and the next: keys, values; in this order, so that what is near may lie beyond.
  const std::byte* rows[2][2][kSpanChunk];
  const std::byte* no_rows[kNearKeys];
};

/// The chunks of a span, walked in multiples of kStepKeys.
template <int32_t kStepKeys>
class SpanWalk {
 public:
  SpanWalk(const AttendSpanArgs& args, SpanRows* rows) : args_(args), rows_(*rows) {
    for (std::byte& zero : rows_.zeros) zero = std::byte{0};
    for (const std::byte*& row : rows_.no_rows) row = rows_.zeros;
  }

  /// Calls use(range, rows): keys' rows, values' rows.
  template <class Use>
  void ForEachChunk(Use use) {
    for (int64_t base = SpanFirst() / kSpanChunk * kSpanChunk; base < SpanEnd();
         base += kSpanChunk) {
      const Range range = RangeOf(base, SpanEnd());
      FindRows(range, rows_.rows[0]);
      use(range, rows_.rows[0]);
    }
  }

  /// The same with the rows of the chunk after it, which are to be asked for: use(range, rows,
  /// later).
  template <class Use>
  void StreamChunks(Use use) {
    int current = 0;
    Range range = RangeOf(SpanFirst() / kSpanChunk * kSpanChunk, SpanEnd());
    FindRows(range, rows_.rows[0]);
    while (range.base < SpanEnd()) {
      // After the span's last chunk come those of the next span, most likely on this thread too.
      const int64_t next_base = range.base + kSpanChunk, end = args_.first_position + args_.rows;
      const Range next = RangeOf(next_base, next_base < SpanEnd() ? SpanEnd() : end);
      const std::byte*(*later)[kSpanChunk] = rows_.rows[1 - current];
      if (next.base >= end) {
        for (int32_t j = 0; j < kSpanChunk; ++j) later[0][j] = later[1][j] = rows_.zeros;
      } else {
        FindRows(next, later);
      }
      use(range, rows_.rows[current], later);
      range = next;
      current = 1 - current;
    }
  }

  /// `range`, cut to the keys that some of n queries from `query` on see: begin ≥ end if none.
  Range Seen(int32_t query, int32_t n, Range range) const {
    const int64_t begin = FirstKey(args_.first_position + query / args_.group) - range.base;
    const int64_t end = args_.first_position + (query + n - 1) / args_.group + 1 - range.base;
    range.begin = static_cast<int32_t>(Most(range.begin, Least(begin, kSpanChunk)));
    range.end = static_cast<int32_t>(Least(range.end, Most(end, 0)));
    return range;
  }

  static void Walk(Range* range) {
    range->first = range->begin / kStepKeys * kStepKeys;
    range->last = (range->end + kStepKeys - 1) / kStepKeys * kStepKeys;
  }

 private:
  int64_t FirstKey(int64_t position) const {
    return args_.window > 0 ? Most(0, position - args_.window + 1) : 0;
  }

  /// First and one past the last key of the span that any row sees.
  int64_t SpanFirst() const { return Most(args_.begin, FirstKey(args_.first_position)); }
  int64_t SpanEnd() const { return Least(args_.end, args_.first_position + args_.rows); }

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
  void FindRows(const Range& range, const std::byte* (*rows)[kSpanChunk]) {
    for (int32_t j = 0; j < range.begin; ++j) rows[0][j] = rows[1][j] = rows_.zeros;
    for (int32_t j = range.end; j < kSpanChunk; ++j) rows[0][j] = rows[1][j] = rows_.zeros;
    int64_t page = (range.base + range.begin) / args_.page_tokens;
    int64_t token = (range.base + range.begin) % args_.page_tokens;
    for (int32_t j = range.begin; j < range.end; ++page, token = 0) {
      const int64_t offset = args_.head_offset + token * args_.row_bytes;
      const auto n = static_cast<int32_t>(Least(args_.page_tokens - token, range.end - j));
      FillRows(args_.k_pages[page] + offset, n, rows[0] + j);
      FillRows(args_.v_pages[page] + offset, n, rows[1] + j);
      j += n;
    }
  }

  /// Addresses of n rows side by side.
  void FillRows(const std::byte* first, int32_t n, const std::byte** rows) const {
    const __m512i eight = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    const __m512i step = _mm512_set1_epi64(8 * args_.row_bytes);
    __m512i next = _mm512_add_epi64(_mm512_set1_epi64(reinterpret_cast<int64_t>(first)),
                                    _mm512_mullo_epi64(eight, _mm512_set1_epi64(args_.row_bytes)));
    for (int32_t i = 0; i < n; i += 8, next = _mm512_add_epi64(next, step)) {
      const auto mask = static_cast<__mmask8>(n - i >= 8 ? 0xff : (1u << (n - i)) - 1);
      _mm512_mask_storeu_epi64(rows + i, mask, next);
    }
  }

  const AttendSpanArgs& args_;
  SpanRows& rows_;
};

}  // namespace
}  // namespace octet
