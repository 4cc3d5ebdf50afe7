// A damaged GGUF gives an error or loads: it never crashes, hangs or asks for absurd memory.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "base/rng.h"
#include "io/gguf.h"
#include "io/gguf_writer.h"

namespace octet {
namespace {

std::string Sample() {
  GgufMetadata metadata;
  metadata.values()["general.architecture"] = std::string("llama");
  metadata.values()["llama.block_count"] = uint64_t{1};
  std::vector<std::string> pieces;
  std::vector<double> scores;
  for (int i = 0; i < 50; ++i) {
    pieces.push_back("piece" + std::to_string(i));
    scores.push_back(-i);
  }
  metadata.values()["tokenizer.ggml.tokens"] = pieces;
  metadata.values()["tokenizer.ggml.scores"] = scores;
  const std::vector<TensorInfo> tensors = {{"token_embd.weight", Format::kF16, {50, 8}, 800},
                                           {"blk.0.ffn_down.weight", Format::kQ4_0, {8, 32}, 144},
                                           {"output_norm.weight", Format::kF32, {8}, 32}};
  std::string bytes = EncodeGgufHeader(metadata, tensors);
  for (const TensorInfo& info : tensors) bytes.append(GgufPaddedBytes(info.bytes), 'x');
  return bytes;
}

/// Reads all there is to read.
bool OpensAndReads(std::string_view bytes, OpenMode mode) {
  const auto file = ParseGguf(std::as_bytes(std::span(bytes)), "damaged.gguf", mode);
  if (!file) return false;
  unsigned sum = 0;
  for (const TensorInfo& info : (*file)->tensors()) {
    const auto data = (*file)->Data(info);
    if (!data) continue;
    for (const std::byte b : *data) sum += static_cast<unsigned>(b);
  }
  return sum > 0;
}

TEST(GgufRobustness, EveryTruncationIsAnError) {
  const std::string whole = Sample();
  ASSERT_TRUE(OpensAndReads(whole, OpenMode::kFull));
  for (size_t i = 0; i < 64; ++i) {
    const std::string_view part = std::string_view(whole).substr(0, whole.size() * i / 64);
    EXPECT_FALSE(OpensAndReads(part, OpenMode::kFull)) << "cut at " << part.size();
    OpensAndReads(part, OpenMode::kHeadersOnly);
  }
}

TEST(GgufRobustness, RandomFlipsNeverCrash) {
  const std::string whole = Sample();
  int refused = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    std::string damaged = whole;
    // Headers matter more than data: half of the flips hit the first quarter.
    const uint64_t range = i % 2 == 0 ? whole.size() : whole.size() / 4;
    const uint64_t at = RandomBits(7, 1, i) % range;
    damaged[at] = static_cast<char>(RandomBits(7, 2, i));
    if (!OpensAndReads(damaged, OpenMode::kFull)) ++refused;
    OpensAndReads(damaged, OpenMode::kHeadersOnly);
  }
  EXPECT_GT(refused, 20);  // else the flips hit nothing that is checked
}

}  // namespace
}  // namespace octet
