// The base property: the bits of a sequence's logits depend on its own tokens and nothing else.
#include <gtest/gtest.h>

#include <cmath>

#include "support/model_runner.h"

namespace octet::testing {
namespace {

struct Case {
  const char* name;
  ModelConfig config;
  Format weights;
  Format kv;
  Arithmetic arithmetic;
};

std::vector<Case> Cases() {
  ModelConfig moe = TinyMixtralConfig();
  ModelConfig window = moe;
  window.sliding_window = 16;
  ModelConfig dense = moe;
  dense.n_experts = dense.n_experts_per_token = 0;
  dense.n_kv_heads = dense.n_heads;
  ModelConfig odd = moe;
  odd.d_model = 72;
  odd.n_heads = 6;
  odd.head_dim = 12;
  odd.d_ff = 100;
  odd.n_experts = 5;
  odd.n_experts_per_token = 3;
  ModelConfig wide = moe;  // rows of whole super-blocks, for k-quants and q8_0 pages
  wide.n_layers = 2;
  wide.d_model = 256;
  wide.n_heads = 4;
  wide.head_dim = 64;
  wide.d_ff = 512;
  wide.n_experts = 4;
  return {{"MoeF32", moe, Format::kF32, Format::kF32, Arithmetic::kFloat32},
          {"MoeF16Kv", moe, Format::kBf16, Format::kF16, Arithmetic::kFast},
          {"WindowBf16Kv", window, Format::kF16, Format::kBf16, Arithmetic::kFloat32},
          {"DenseF32", dense, Format::kF32, Format::kF16, Arithmetic::kFast},
          {"OddTop3", odd, Format::kF32, Format::kF32, Arithmetic::kFloat32},
          {"WideQ4KQ8Kv", wide, Format::kQ4_K, Format::kQ8_0, Arithmetic::kFast},
          {"WideQ8Bf16Kv", wide, Format::kQ8_0, Format::kBf16, Arithmetic::kFast},
          {"WideQ8F32", wide, Format::kQ8_0, Format::kF32, Arithmetic::kFloat32}};
}

class BaseProperty : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    model_ = SyntheticModel(GetParam().config, GetParam().weights);
    ids_ = RandomIds(150, GetParam().config.vocab_size, 42);
    alone_ = Runner(2, 64).Prompt(ids_);
    for (const float x : alone_) ASSERT_TRUE(std::isfinite(x));
  }
  ModelRunner Runner(int threads, int32_t page_tokens) const {
    return ModelRunner(*model_, {threads, GetParam().kv, page_tokens, 4096, GetParam().arithmetic});
  }
  std::unique_ptr<Model> model_;
  std::vector<int32_t> ids_;
  std::vector<float> alone_;  // [150, vocab], one shot
};

TEST_P(BaseProperty, ChunksOfAPromptGiveTheSameBits) {
  for (const size_t chunk : {1, 3, 64})
    EXPECT_TRUE(Runner(2, 64).Prompt(ids_, chunk) == alone_) << "chunk " << chunk;
}

TEST_P(BaseProperty, ThreadsGiveTheSameBits) {
  for (const int threads : {1, 3, 5, 32})
    EXPECT_TRUE(Runner(threads, 64).Prompt(ids_) == alone_) << threads << " threads";
}

TEST_P(BaseProperty, PageSizesGiveTheSameBits) {
  for (const int32_t page : {1, 16, 256})
    EXPECT_TRUE(Runner(2, page).Prompt(ids_, 7) == alone_) << "pages of " << page;
}

TEST_P(BaseProperty, NeighboursInABatchDoNotMatter) {
  auto runner = Runner(2, 16);
  const int64_t vocab = GetParam().config.vocab_size;
  std::vector<int32_t> sequences;
  for (int i = 0; i < 8; ++i) sequences.push_back(runner.kv().AddSequence());
  // Ours is the fifth of eight sequences of different lengths, prefilled together in two ragged
  // steps.
  std::vector<float> ours;
  for (int64_t step = 0; step < 2; ++step) {
    std::vector<ModelRunner::Part> parts;
    int64_t first = 0;
    for (int i = 0; i < 8; ++i) {
      const int64_t half = i == 4 ? 75 : 3 + 5 * i;
      auto tokens =
          RandomIds(static_cast<size_t>(half), vocab, static_cast<uint64_t>(100 + i + 8 * step));
      if (i == 4) tokens.assign(ids_.begin() + step * half, ids_.begin() + (step + 1) * half);
      if (i < 4) first += half;
      parts.push_back({sequences[static_cast<size_t>(i)], step * half, tokens});
    }
    const auto logits = runner.Step(parts);
    ours.insert(ours.end(), logits.begin() + first * vocab, logits.begin() + (first + 75) * vocab);
  }
  EXPECT_TRUE(ours == alone_);
}

TEST_P(BaseProperty, DecodeInABatchEqualsDecodeAlone) {
  const std::vector<int32_t> prompt(ids_.begin(), ids_.begin() + 20);
  const int64_t vocab = GetParam().config.vocab_size;
  auto runner = Runner(2, 16);
  std::vector<int32_t> sequences;
  for (int i = 0; i < 8; ++i) {
    sequences.push_back(runner.kv().AddSequence());
    runner.Step({{sequences.back(), 0, prompt}});
  }
  for (int64_t position = 20; position < 40; ++position) {
    std::vector<ModelRunner::Part> parts;
    for (int i = 0; i < 8; ++i) {
      auto token = RandomIds(1, vocab, static_cast<uint64_t>(1000 + i + 8 * position));
      if (i == 3) token = {ids_[static_cast<size_t>(position)]};
      parts.push_back({sequences[static_cast<size_t>(i)], position, token});
    }
    const auto logits = runner.Step(parts);
    const std::vector<float> row(logits.begin() + 3 * vocab, logits.begin() + 4 * vocab);
    const std::vector<float> expected(alone_.begin() + position * vocab,
                                      alone_.begin() + (position + 1) * vocab);
    ASSERT_TRUE(row == expected) << "position " << position;
  }
}

// The last layer leaves out what nobody reads.
TEST_P(BaseProperty, RowsWithoutLogitsDoNotMatter) {
  auto runner = Runner(2, 16);
  const int64_t vocab = GetParam().config.vocab_size;
  const int32_t other = runner.kv().AddSequence(), ours = runner.kv().AddSequence();
  // Rows of ours whose logits are wanted, step by step, behind five rows of the other's.
  const std::vector<std::vector<int32_t>> wanted = {{}, {49}, {0, 7, 8, 9, 31}};
  for (int64_t step = 0; step < 3; ++step) {
    std::vector<int32_t> rows;
    if (step == 1) rows.push_back(4);  // the other's last
    const size_t before = rows.size();
    for (const int32_t row : wanted[static_cast<size_t>(step)]) rows.push_back(5 + row);
    const auto logits = runner.StepFor(
        rows, {{other, 5 * step, RandomIds(5, vocab, static_cast<uint64_t>(step))},
               {ours, 50 * step, {ids_.begin() + 50 * step, ids_.begin() + 50 * (step + 1)}}});
    ASSERT_EQ(logits.size(), rows.size() * static_cast<size_t>(vocab));
    for (size_t r = before; r < rows.size(); ++r) {
      const auto got = logits.begin() + static_cast<int64_t>(r) * vocab;
      const int64_t position = 50 * step + rows[r] - 5;
      EXPECT_TRUE(std::equal(got, got + vocab, alone_.begin() + position * vocab))
          << "position " << position;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, BaseProperty, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace octet::testing
