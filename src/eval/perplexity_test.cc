#include "eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/model_runner.h"

namespace octet {
namespace {

using testing::ModelRunner;
using testing::RandomIds;

TEST(LogProbability, IsLogSoftmax) {
  const float logits[] = {0, std::log(3.0f), -1000};
  EXPECT_NEAR(LogProbability(logits, 1), std::log(0.75), 1e-7);
  EXPECT_NEAR(LogProbability(logits, 0), std::log(0.25), 1e-7);
  EXPECT_NEAR(LogProbability(logits, 2), -1000 - std::log(4.0), 1e-3);
}

TEST(Perplexity, EqualsLogitsOfEachWindowScoredByHand) {
  const auto model = testing::SyntheticModel(testing::TinyMixtralConfig());
  const auto ids =
      RandomIds(530, model->config().vocab_size, 3);  // two windows of 256, a tail left over
  ModelRunner runner(*model, {});
  const auto result = MeasurePerplexity(*model, ids, {256, 1, Format::kF32}, runner.context());
  ASSERT_TRUE(result) << result.error().message;
  double nll = 0;
  int64_t count = 0;
  const int64_t vocab = model->config().vocab_size;
  for (int64_t w = 0; w < 2; ++w) {
    std::vector<int32_t> window(ids.begin() + w * 256, ids.begin() + (w + 1) * 256);
    window[0] = 1;
    const auto logits = runner.Prompt(window);
    for (int64_t t = 128; t < 255; ++t, ++count) {
      nll -= LogProbability({logits.data() + t * vocab, static_cast<size_t>(vocab)},
                            window[static_cast<size_t>(t + 1)]);
    }
  }
  EXPECT_EQ(result->windows, 2);
  EXPECT_EQ(result->scored_tokens, count);
  EXPECT_NEAR(result->mean_nll, nll / static_cast<double>(count), 1e-12);
  EXPECT_NEAR(result->perplexity, std::exp(result->mean_nll), 1e-9);
  EXPECT_GT(result->standard_error, 0);
}

TEST(Perplexity, RefusesWhatItCannotScore) {
  const auto model = testing::SyntheticModel(testing::TinyMixtralConfig());
  ModelRunner runner(*model, {});
  const std::vector<int32_t> short_text = {1, 2, 3}, bad_id = {1, 2, 3, 4000};
  EXPECT_EQ(MeasurePerplexity(*model, short_text, {}, runner.context()).error().code,
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(MeasurePerplexity(*model, bad_id, {}, runner.context()).error().code,
            ErrorCode::kInvalidArgument);
  const auto ids = RandomIds(100, 100, 1);
  EXPECT_EQ(MeasurePerplexity(*model, ids, {.context = 1 << 20}, runner.context()).error().code,
            ErrorCode::kInvalidArgument);
}

TEST(Perplexity, StopsWhenAsked) {
  const auto model = testing::SyntheticModel(testing::TinyMixtralConfig());
  ModelRunner runner(*model, {});
  const auto ids = RandomIds(100, model->config().vocab_size, 1);
  int64_t calls = 0;
  const auto result = MeasurePerplexity(*model, ids, {.context = 10}, runner.context(),
                                        [&](int64_t, int64_t, const auto&) { return ++calls < 3; });
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace octet
