#include "quant/panel16.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/rng.h"

namespace octet {
namespace {

/// Where the words of a step's main part come from: fields of 32-bit words, in order, of all blocks
/// of a row one after another (panel16.h).
struct Field {
  int offset, words;
};
struct Source {
  Format format;
  std::vector<Field> fields;
  uint32_t flip = 0;
};

const std::vector<Source>& Sources() {
  static const std::vector<Source> sources = {
      {Format::kQ4_K, {{16, 32}, {4, 3}}},
      {Format::kQ5_K, {{48, 32}, {16, 8}, {4, 3}}},
      {Format::kQ6_K, {{0, 32}, {128, 16}, {192, 4}}},
      {Format::kQ3_K, {{32, 16}, {0, 8}, {96, 3}}},
      {Format::kQ2_K, {{16, 16}, {0, 4}}},
      {Format::kIq4_Xs, {{8, 32}, {4, 1}}},
      {Format::kQ4_0, {{2, 4}}},
      {Format::kIq4_Nl, {{2, 4}}},
      {Format::kQ4_1, {{4, 4}}},
      {Format::kQ5_0, {{6, 4}}},
      {Format::kQ5_1, {{8, 4}}},
      {Format::kQ8_0, {{2, 8}}, 0x80808080u},
  };
  return sources;
}

/// Random rows of one step, of which every third is missing.
struct StepRows {
  StepRows(Format format, int64_t blocks) {
    const auto bytes = static_cast<size_t>(blocks * Info(format).block_bytes);
    for (size_t r = 0; r < kPanelRows; ++r) {
      storage.emplace_back(bytes);
      for (size_t i = 0; i < bytes; ++i) {
        storage[r][i] = static_cast<std::byte>(RandomBits(11, r, i));
      }
      rows[r] = r % 3 == 2 ? nullptr : storage[r].data();
    }
  }
  std::vector<std::vector<std::byte>> storage;  // each ends where its row ends: ASan sees overruns
  const std::byte* rows[kPanelRows];
};

uint32_t WordAt(const std::byte* p) {
  uint32_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

TEST(Panel16, InterleavesTheWordsOfSixteenRows) {
  for (const Source& source : Sources()) {
    const int64_t all_blocks = kPanelStep / Info(source.format).block_values;
    for (const int64_t blocks : {all_blocks, std::max<int64_t>(all_blocks - 5, 1)}) {
      SCOPED_TRACE(::testing::Message() << Info(source.format).name << ", " << blocks << " blocks");
      const StepRows step(source.format, blocks);
      const Panel16& panel = *FindPanel16(source.format);
      std::vector<std::byte> main(static_cast<size_t>(panel.main_bytes) + 1, std::byte{0x5a});
      std::vector<std::byte> tail(static_cast<size_t>(panel.tail_bytes) + 1, std::byte{0x5a});
      panel.pack(step.rows, blocks, main.data(), tail.data());
      EXPECT_EQ(main.back(), std::byte{0x5a});
      EXPECT_EQ(tail.back(), std::byte{0x5a});
      const std::byte* at = main.data();
      for (int64_t b = 0; b < all_blocks; ++b) {
        for (const Field& field : source.fields) {
          for (int w = 0; w < field.words; ++w, at += 64) {
            for (int r = 0; r < kPanelRows; ++r) {
              const bool there = step.rows[r] != nullptr && b < blocks;
              const int64_t offset = b * Info(source.format).block_bytes + field.offset + 4 * w;
              const uint32_t word = there ? WordAt(step.rows[r] + offset) : 0;
              ASSERT_EQ(WordAt(at + 4 * r), word ^ source.flip) << "word " << w << ", row " << r;
            }
          }
        }
      }
    }
  }
}

TEST(Panel16, GathersTheFifthBitsOfEightBlocks) {
  for (const Format format : {Format::kQ5_0, Format::kQ5_1}) {
    const int64_t block_bytes = Info(format).block_bytes, bits_at = block_bytes - 20;
    for (const int64_t blocks : {int64_t{8}, int64_t{3}}) {
      const StepRows step(format, blocks);
      std::vector<std::byte> main(static_cast<size_t>(FindPanel16(format)->main_bytes));
      FindPanel16(format)->pack(step.rows, blocks, main.data(), nullptr);
      for (int r = 0; r < kPanelRows; ++r) {
        for (int l = 0; l < 32; ++l) {
          uint32_t want = 0;
          for (int64_t b = 0; b < blocks && step.rows[r] != nullptr; ++b) {
            want |= (WordAt(step.rows[r] + b * block_bytes + bits_at) >> l & 1u) << b;
          }
          const int at = 64 * (32 + l / 4) + 4 * r + l % 4;
          ASSERT_EQ(static_cast<uint32_t>(main[static_cast<size_t>(at)]), want)
              << Info(format).name << ", row " << r << ", value " << l;
        }
      }
    }
  }
}

TEST(Panel16, FillsAPanelOfOddStepsToItsEnd) {
  for (const Source& source : Sources()) {
    const int64_t cols = 3 * kPanelStep;
    std::vector<std::byte> row(static_cast<size_t>(FormatBytes(source.format, cols)), std::byte{1});
    const std::byte* rows[kPanelRows] = {row.data()};
    const auto bytes = static_cast<size_t>(PanelBytes(source.format, cols));
    std::vector<std::byte> a(bytes + 1, std::byte{0x5a}), b(bytes + 1, std::byte{0xa5});
    PackPanel(source.format, rows, cols, a.data());
    PackPanel(source.format, rows, cols, b.data());
    EXPECT_TRUE(std::equal(a.begin(), a.end() - 1, b.begin())) << Info(source.format).name;
    EXPECT_EQ(a.back(), std::byte{0x5a});
  }
}

}  // namespace
}  // namespace octet
