#include "quant/panel16.h"

#include <cstring>

namespace octet {
namespace {

using Rows = const std::byte* const[kPanelRows];

/// Interleaves words [first, words) from byte `offset` of every row.
void PutWordsOneByOne(Rows rows, int64_t offset, int first, int words, uint32_t flip,
                      std::byte* out) {
  for (int r = 0; r < kPanelRows; ++r) {
    for (int w = first; w < words; ++w) {
      uint32_t word = 0;
      if (rows[r] != nullptr) {
        std::memcpy(&word, rows[r] + offset + 4 * w, sizeof(word));
      }
      word ^= flip;
      std::memcpy(out + 64 * w + 4 * r, &word, sizeof(word));
    }
  }
}

// Vectors of the compiler: plain code on any machine, shuffles where there are some.
using Words4 = uint32_t __attribute__((vector_size(16)));
using Bytes16 = uint8_t __attribute__((vector_size(16)));
using Pair64 = uint64_t __attribute__((vector_size(16)));

/// Words 0…3 of four rows to 16 bytes each of four words of the panel.
void TransposeFour(Rows rows, int first_row, int64_t offset, uint32_t flip, std::byte* out) {
  Words4 row[4] = {};
  for (int r = 0; r < 4; ++r) {
    const std::byte* p = rows[first_row + r];
    if (p != nullptr) std::memcpy(&row[r], p + offset, sizeof(row[r]));
    row[r] ^= flip;
  }
  const Words4 low01 = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5),
               low23 = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5),
               high01 = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7),
               high23 = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  const Words4 words[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5),
                           __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                           __builtin_shufflevector(high01, high23, 0, 1, 4, 5),
                           __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
  for (int w = 0; w < 4; ++w) {
    std::memcpy(out + 64 * w + 4 * first_row, &words[w], sizeof(words[w]));
  }
}

/// Interleaves `words` 32-bit words from byte `offset` of every row; returns the end of the output.
std::byte* PutWords(Rows rows, int64_t offset, int words, uint32_t flip, std::byte* out) {
  int w = 0;
  for (; w + 4 <= words; w += 4) {
    for (int r = 0; r < kPanelRows; r += 4) {
      TransposeFour(rows, r, offset + 4 * w, flip, out + 64 * w);
    }
  }
  PutWordsOneByOne(rows, offset, w, words, flip, out);
  return out + 64 * words;
}

/// Interleaves one 16-bit field.
std::byte* PutHalf(Rows rows, int64_t offset, std::byte* out) {
  for (int r = 0; r < kPanelRows; ++r) {
    uint16_t half = 0;
    if (rows[r] != nullptr) std::memcpy(&half, rows[r] + offset, sizeof(half));
    std::memcpy(out + 2 * r, &half, sizeof(half));
  }
  return out + 2 * kPanelRows;
}

void PackQ4_K(Rows rows, int64_t, std::byte* main, std::byte* tail) {
  main = PutWords(rows, 16, 32, 0, main);
  PutWords(rows, 4, 3, 0, main);
  PutHalf(rows, 2, PutHalf(rows, 0, tail));
}

void PackQ5_K(Rows rows, int64_t, std::byte* main, std::byte* tail) {
  main = PutWords(rows, 48, 32, 0, main);
  main = PutWords(rows, 16, 8, 0, main);
  PutWords(rows, 4, 3, 0, main);
  PutHalf(rows, 2, PutHalf(rows, 0, tail));
}

void PackQ6_K(Rows rows, int64_t, std::byte* main, std::byte* tail) {
  main = PutWords(rows, 0, 32, 0, main);
  main = PutWords(rows, 128, 16, 0, main);
  PutWords(rows, 192, 4, 0, main);
  PutHalf(rows, 208, tail);
}

void PackQ3_K(Rows rows, int64_t, std::byte* main, std::byte* tail) {
  main = PutWords(rows, 32, 16, 0, main);
  main = PutWords(rows, 0, 8, 0, main);
  PutWords(rows, 96, 3, 0, main);
  PutHalf(rows, 108, tail);
}

void PackQ2_K(Rows rows, int64_t, std::byte* main, std::byte* tail) {
  main = PutWords(rows, 16, 16, 0, main);
  PutWords(rows, 0, 4, 0, main);
  PutHalf(rows, 82, PutHalf(rows, 80, tail));
}

void PackIq4_Xs(Rows rows, int64_t, std::byte* main, std::byte* tail) {
  main = PutWords(rows, 8, 32, 0, main);
  PutWords(rows, 4, 1, 0, main);
  PutHalf(rows, 0, PutHalf(rows, 2, tail));
}

// The formats with blocks of 32 values: eight a step, the missing ones at a row's end zero.
constexpr int kBlocks = kPanelStep / 32;
constexpr const std::byte* kZeroRows[kPanelRows] = {};

template <int kBlockBytes, int kCodesAt, int kWords>
std::byte* PutCodes(Rows rows, int64_t blocks, uint32_t flip, std::byte* out) {
  for (int b = 0; b < kBlocks; ++b) {
    out = PutWords(b < blocks ? rows : kZeroRows, b * kBlockBytes + kCodesAt, kWords, flip, out);
  }
  return out;
}

/// The 16-bit fields at the blocks' starts.
template <int kBlockBytes, int kHalves>
void PutScales(Rows rows, int64_t blocks, std::byte* out) {
  for (int field = 0; field < kHalves; ++field) {
    for (int b = 0; b < kBlocks; ++b) {
      out = PutHalf(b < blocks ? rows : kZeroRows, b * kBlockBytes + 2 * field, out);
    }
  }
}

/// Two 8 × 8 bit matrices, rows in bytes, transposed (Warren, Hacker's Delight, 7-3).
Pair64 TransposeBits(Pair64 x) {
  const auto swap = [&x](int distance, uint64_t mask) {
    const Pair64 moved = (x ^ (x >> distance)) & mask;
    x ^= moved ^ (moved << distance);
  };
  swap(7, 0x00aa00aa00aa00aa);
  swap(14, 0x0000cccc0000cccc);
  swap(28, 0x00000000f0f0f0f0);
  return x;
}

Bytes16 Interleave(Bytes16 a, Bytes16 b, bool high) {
  return high ? __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                        15, 31)
              : __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7,
                                        23);
}

/// bytes[l] = bit l of word 0, 1, … 7 from its lowest bit on.
void SpreadBits(const uint32_t words[kBlocks], uint8_t* bytes) {
  Bytes16 half[2];
  std::memcpy(half, words, sizeof(half));
  // Three rounds bring byte j of the eight words side by side, for j = 0 … 3.
  const Bytes16 low = Interleave(half[0], half[1], false),
                high = Interleave(half[0], half[1], true);
  const Bytes16 even = Interleave(low, high, false), odd = Interleave(low, high, true);
  const Pair64 spread[2] = {TransposeBits(reinterpret_cast<Pair64>(Interleave(even, odd, false))),
                            TransposeBits(reinterpret_cast<Pair64>(Interleave(even, odd, true)))};
  std::memcpy(bytes, spread, sizeof(spread));
}

/// Byte l of a row's 32 bytes gets bit b of value l of block b; the blocks hold it in a 32-bit
/// word.
template <int kBlockBytes, int kBitsAt>
std::byte* PutFifthBits(Rows rows, int64_t blocks, std::byte* out) {
  uint8_t bytes[kPanelRows][32];
  const std::byte* sources[kPanelRows];
  for (int r = 0; r < kPanelRows; ++r) {
    sources[r] = reinterpret_cast<const std::byte*>(bytes[r]);
    uint32_t words[kBlocks] = {};
    for (int b = 0; b < kBlocks && b < blocks && rows[r] != nullptr; ++b) {
      std::memcpy(&words[b], rows[r] + b * kBlockBytes + kBitsAt, sizeof(words[b]));
    }
    SpreadBits(words, bytes[r]);
  }
  return PutWords(sources, 0, 8, 0, out);
}

void PackQ4_0(Rows rows, int64_t blocks, std::byte* main, std::byte*) {
  PutScales<18, 1>(rows, blocks, PutCodes<18, 2, 4>(rows, blocks, 0, main));
}

void PackQ4_1(Rows rows, int64_t blocks, std::byte* main, std::byte*) {
  PutScales<20, 2>(rows, blocks, PutCodes<20, 4, 4>(rows, blocks, 0, main));
}

void PackQ5_0(Rows rows, int64_t blocks, std::byte* main, std::byte*) {
  main = PutCodes<22, 6, 4>(rows, blocks, 0, main);
  PutScales<22, 1>(rows, blocks, PutFifthBits<22, 2>(rows, blocks, main));
}

void PackQ5_1(Rows rows, int64_t blocks, std::byte* main, std::byte*) {
  main = PutCodes<24, 8, 4>(rows, blocks, 0, main);
  PutScales<24, 2>(rows, blocks, PutFifthBits<24, 4>(rows, blocks, main));
}

void PackQ8_0(Rows rows, int64_t blocks, std::byte* main, std::byte*) {
  PutScales<34, 1>(rows, blocks, PutCodes<34, 2, 8>(rows, blocks, 0x80808080u, main));
}

/// Two values a word; `values` of them remain in the rows.
void PackBf16(Rows rows, int64_t values, std::byte* main, std::byte*) {
  const auto words = static_cast<int>(values < kPanelStep ? values / 2 : kPanelStep / 2);
  main = PutWords(rows, 0, words, 0, main);
  if (words == kPanelStep / 2) return;
  uint16_t last[kPanelRows][2] = {};
  const std::byte* sources[kPanelRows];
  for (int r = 0; r < kPanelRows; ++r) {
    sources[r] = reinterpret_cast<const std::byte*>(last[r]);
    if (rows[r] != nullptr && values % 2 == 1) std::memcpy(last[r], rows[r] + 4 * words, 2);
  }
  main = PutWords(sources, 0, 1, 0, main);
  std::memset(main, 0, 64 * static_cast<size_t>(kPanelStep / 2 - 1 - words));
}

}  // namespace

const Panel16* FindPanel16(Format format) {
  static constexpr Panel16 kQ4_K{2240, 64, PackQ4_K}, kQ5_K{2752, 64, PackQ5_K},
      kQ6_K{3328, 32, PackQ6_K}, kQ3_K{1728, 32, PackQ3_K}, kQ2_K{1280, 64, PackQ2_K},
      kIq4_Xs{2112, 64, PackIq4_Xs}, kQ4_0{2304, 0, PackQ4_0}, kQ4_1{2560, 0, PackQ4_1},
      kQ5_0{2816, 0, PackQ5_0}, kQ5_1{3072, 0, PackQ5_1}, kQ8_0{4352, 0, PackQ8_0},
      kBf16{8192, 0, PackBf16};
  switch (format) {
    case Format::kQ4_K:
      return &kQ4_K;
    case Format::kQ5_K:
      return &kQ5_K;
    case Format::kQ6_K:
      return &kQ6_K;
    case Format::kQ3_K:
      return &kQ3_K;
    case Format::kQ2_K:
      return &kQ2_K;
    case Format::kIq4_Xs:
      return &kIq4_Xs;
    case Format::kQ4_0:
    case Format::kIq4_Nl:
      return &kQ4_0;
    case Format::kQ4_1:
      return &kQ4_1;
    case Format::kQ5_0:
      return &kQ5_0;
    case Format::kQ5_1:
      return &kQ5_1;
    case Format::kQ8_0:
      return &kQ8_0;
    case Format::kF32:
    case Format::kF16:
      return nullptr;
    case Format::kBf16:
      return &kBf16;
  }
  return nullptr;
}

int64_t PanelBytes(Format format, int64_t cols) {
  const Panel16& panel = *FindPanel16(format);
  const int64_t steps = (cols + kPanelStep - 1) / kPanelStep;
  return (steps * (panel.main_bytes + panel.tail_bytes) + 63) / 64 * 64;
}

int64_t Panel16Bytes(Format format, int64_t rows, int64_t cols) {
  return (rows + kPanelRows - 1) / kPanelRows * PanelBytes(format, cols);
}

void PackPanel(Format format, const std::byte* const rows[kPanelRows], int64_t cols,
               std::byte* out) {
  const Panel16& panel = *FindPanel16(format);
  const FormatInfo& info = Info(format);
  const int64_t steps = (cols + kPanelStep - 1) / kPanelStep;
  const int64_t step_bytes = FormatBytes(format, kPanelStep);
  const int64_t used = steps * (panel.main_bytes + panel.tail_bytes);
  std::memset(out + used, 0, static_cast<size_t>(PanelBytes(format, cols) - used));
  for (int64_t s = 0; s < steps; ++s) {
    const std::byte* at[kPanelRows];
    for (int r = 0; r < kPanelRows; ++r) {
      at[r] = rows[r] == nullptr ? nullptr : rows[r] + s * step_bytes;
    }
    const int64_t partner = s % 2, mains = s + 1 < steps || partner == 1 ? 2 : 1;
    std::byte* pair = out + (s - partner) * (panel.main_bytes + panel.tail_bytes);
    panel.pack(at, (cols - s * kPanelStep) / info.block_values, pair + partner * panel.main_bytes,
               pair + mains * panel.main_bytes + partner * panel.tail_bytes);
  }
}

}  // namespace octet
