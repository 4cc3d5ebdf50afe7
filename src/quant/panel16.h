// Layout::kPanel16: blocks re-tiled so that a 512-bit register holds the same four
// consecutive k of sixteen output rows.
//
// A panel is 16 rows; a step is 256 values of K of a panel (one block of the K formats, eight
// blocks of the 32-value formats). Within a step the 32-bit words of the rows' blocks are
// interleaved: word w of rows 0…15 side by side, 64 bytes. So a byte keeps the bit fields its
// format gave it, and packing is a transposition of words. A step has two parts:
//   main: the words in the order listed below, 64 bytes each
//   tail: the 16-bit fields that would break the alignment, 32 bytes each (16 rows side by side)
// Steps lie in pairs, main main tail tail, so that every main part starts on a cache line; a last
// step without partner is main tail. A panel is padded to 64 bytes, the last panel's missing rows
// are zero blocks, and panels follow one another.
//
//   format   main, in words                              tail       bytes a step
//   Q4_K     qs 32, scales 3                             d, dmin    2304
//   Q5_K     qs 32, qh 8, scales 3                       d, dmin    2816
//   Q6_K     ql 32, qh 16, scales 4                      d          3360
//   Q3_K     qs 16, hmask 8, scales 3                    d          1760
//   Q2_K     qs 16, scales 4                             d, dmin    1344
//   IQ4_XS   qs 32, scales_l 1                           scales_h, d  2176
//   Q4_0     qs of 8 blocks 32, d of 8 blocks            -          2304
//   IQ4_NL   as Q4_0
//   Q4_1     qs 32, d of 8 blocks, m of 8 blocks         -          2560
//   Q5_0     qs 32, fifth bits 8, d                      -          2816
//   Q5_1     qs 32, fifth bits 8, d, m                   -          3072
//   Q8_0     qs 64 with their sign bits flipped, d       -          4352
//   BF16     128 pairs of values                         -          8192
// d and m of 8 blocks: [block][row] of binary16, 32 bytes a block. Fifth bits: bit b of byte l is
// that of value l of block b, as Q5_K's qh. Flipped sign bits make Q8_0's codes q + 128, unsigned.
// Sizes equal the file's, but for padding: where cols is no multiple of 256, the 32-value formats
// and BF16 are filled up with zeros.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/format.h"

namespace octet {

constexpr int kPanelRows = 16;
constexpr int kPanelStep = 256;  // values of K

/// Packs one step: rows[r] is the first of row r's `blocks` remaining blocks, row-major, or nullptr
/// for a row of zeros.
using PackStepFn = void (*)(const std::byte* const rows[kPanelRows], int64_t blocks,
                            std::byte* main, std::byte* tail);

struct Panel16 {
  int32_t main_bytes;  // of a step; a multiple of 64
  int32_t tail_bytes;  // of a step: 0, 32 or 64
  PackStepFn pack;
};

/// Where step s of the `steps` of a panel lies. F: a format's kMainBytes and kTailBytes, as
/// Panel16's.
template <class F>
struct StepPlace {
  StepPlace(const std::byte* panel, int64_t s, int64_t steps) {
    const int64_t partner = s % 2, mains = s + 1 < steps || partner == 1 ? 2 : 1;
    const std::byte* pair = panel + (s - partner) * (F::kMainBytes + F::kTailBytes);
    main = pair + partner * F::kMainBytes;
    tail = pair + mains * F::kMainBytes + partner * F::kTailBytes;
  }
  const std::byte *main, *tail;
};

/// The panel layout of `format`; nullptr when it has none (F32, F16).
const Panel16* FindPanel16(Format format);

/// Bytes of one panel, and of a matrix, in the layout. The format must have it.
int64_t PanelBytes(Format format, int64_t cols);
int64_t Panel16Bytes(Format format, int64_t rows, int64_t cols);

/// Packs one panel from the starts of 16 rows of `cols` values (nullptr: zeros).
void PackPanel(Format format, const std::byte* const rows[kPanelRows], int64_t cols,
               std::byte* out);

}  // namespace octet
