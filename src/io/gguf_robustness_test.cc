// A damaged GGUF gives an error or loads: it never crashes, hangs or asks for absurd memory.
#include <gtest/gtest.h>

#include "base/file.h"
#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "quant/panel16.h"
#include "support/damage.h"
#include "support/shared_data.h"

namespace octet {
namespace {

std::string Sample(bool packed) {
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
  metadata.values()[kPackedLayoutsKey] = std::vector<std::string>{"panel16.1"};
  std::vector<TensorInfo> tensors = {{"token_embd.weight", Format::kF16, {50, 8}, 800},
                                     {"blk.0.ffn_down.weight", Format::kQ4_0, {8, 32}, 144},
                                     {"output_norm.weight", Format::kF32, {8}, 32}};
  if (packed) {
    tensors[1].layout = Layout::kPanel16;
    tensors[1].bytes = static_cast<uint64_t>(Panel16Bytes(Format::kQ4_0, 8, 32));
  }
  std::string bytes = EncodeGgufHeader(metadata, tensors);
  for (const TensorInfo& info : tensors)
    bytes.append(GgufPaddedBytes(info.bytes, GgufAlignment(tensors)), 'x');
  // Without the last padding, so that every cut takes something away.
  bytes.resize(bytes.size() - (GgufPaddedBytes(32, GgufAlignment(tensors)) - 32));
  return bytes;
}

testing::Parser ParserIn(OpenMode mode) {
  return [mode](std::span<const std::byte> bytes) {
    const auto file = ParseGguf(bytes, "damaged.gguf", mode);
    if (file) testing::TouchAll(**file);
    return file.has_value();
  };
}

/// Truncation must be seen; with headers only, it must be survived.
void Damage(const std::string& good, size_t header_bytes) {
  const auto full = ParserIn(OpenMode::kFull), headers = ParserIn(OpenMode::kHeadersOnly);
  ASSERT_TRUE(full(std::as_bytes(std::span(good))));
  testing::ExpectTruncationsRefused(good, full);
  for (size_t part = 0; part < 64; ++part) {
    headers(std::as_bytes(std::span(good).first(good.size() * part / 64)));
  }
  testing::SurviveByteFlips(good, header_bytes, 1000, 7, full);
  testing::SurviveByteFlips(good, header_bytes, 1000, 8, headers);
}

TEST(GgufRobustness, SurvivesDamageToASmallFile) {
  for (const bool packed : {false, true}) {
    const std::string good = Sample(packed);
    Damage(good, packed ? good.find("xxxx") : good.size() / 2);
  }
}

TEST(GgufRobustness, SurvivesDamageToRealFiles) {
  OCTET_NEEDS_SHARED_DATA();
  const auto models = testing::SharedData() / "reference/models";
  const auto good = *ReadTextFile(models / "mixtral-hd128/gguf/mixtral-hd128-Q2_K.gguf");
  testing::ExpectTruncationsRefused(good, ParserIn(OpenMode::kFull));
  testing::SurviveByteFlips(good, 12512, 1000, 9, ParserIn(OpenMode::kFull));  // bytes of header
}
}  // namespace
}  // namespace octet
