#include "quant/panel16.h"

#include <cstring>

namespace octet {
namespace {

using Rows = const std::byte* const[kPanelRows];

/// Interleaves `words` 32-bit words from byte `offset` of every row; returns the end of the output.
std::byte* PutWords(Rows rows, int64_t offset, int words, uint32_t flip, std::byte* out) {
  for (int r = 0; r < kPanelRows; ++r) {
    for (int w = 0; w < words; ++w) {
      uint32_t word = 0;
      if (rows[r] != nullptr) {
        std::memcpy(&word, rows[r] + offset + 4 * w, sizeof(word));
      }
      word ^= flip;
      std::memcpy(out + 64 * w + 4 * r, &word, sizeof(word));
    }
  }
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

/// Byte l of a row's 32 bytes gets bit b of value l of block b; the blocks hold it in a 32-bit
/// word.
template <int kBlockBytes, int kBitsAt>
std::byte* PutFifthBits(Rows rows, int64_t blocks, std::byte* out) {
  uint8_t bytes[kPanelRows][32] = {};
  const std::byte* sources[kPanelRows];
  for (int r = 0; r < kPanelRows; ++r) {
    sources[r] = reinterpret_cast<const std::byte*>(bytes[r]);
    if (rows[r] == nullptr) continue;
    for (int b = 0; b < kBlocks && b < blocks; ++b) {
      uint32_t bits = 0;
      std::memcpy(&bits, rows[r] + b * kBlockBytes + kBitsAt, sizeof(bits));
      for (int l = 0; l < 32; ++l) bytes[r][l] |= static_cast<uint8_t>(((bits >> l) & 1u) << b);
    }
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

}  // namespace

const Panel16* FindPanel16(Format format) {
  static constexpr Panel16 kQ4_K{2240, 64, PackQ4_K}, kQ5_K{2752, 64, PackQ5_K},
      kQ6_K{3328, 32, PackQ6_K}, kQ3_K{1728, 32, PackQ3_K}, kQ2_K{1280, 64, PackQ2_K},
      kIq4_Xs{2112, 64, PackIq4_Xs}, kQ4_0{2304, 0, PackQ4_0}, kQ4_1{2560, 0, PackQ4_1},
      kQ5_0{2816, 0, PackQ5_0}, kQ5_1{3072, 0, PackQ5_1}, kQ8_0{4352, 0, PackQ8_0};
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
    case Format::kBf16:
      return nullptr;
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
