// Adapters over quantised weights: trained, loaded beside them, and folded into floats.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "octet/engine.h"
#include "octet/merge.h"
#include "octet/quantize.h"
#include "octet/train.h"
#include "support/temp_folder.h"

namespace octet {
namespace {

namespace fs = std::filesystem;
using testing::TempFolder;

constexpr int64_t kLayers = 2, kWidth = 256, kVocab = 512;
constexpr char kTokenizer[] = OCTET_SOURCE_DIR "/tests/data/tokenizer512.model";

TrainOptions Small(const fs::path& folder, const char* run) {
  TrainOptions options;
  options.tokenizer = kTokenizer;
  options.sources = {"words=" + (folder / "words.txt").string()};
  options.output = folder / run;
  options.context = 32;
  options.batch_tokens = 128;
  options.warmup = 1;
  options.threads = 2;
  return options;
}

fs::path MustTrain(const TrainOptions& options) {
  auto report = Train(options, [](const TrainUpdate&) {});
  EXPECT_TRUE(report) << report.error().message;
  return report ? report->checkpoint : fs::path();
}

/// A model whose every matrix has rows of a K-quantised block, as Q4_K_S stores it.
fs::path QuantisedBase(const fs::path& folder) {
  std::ofstream words(folder / "words.txt");
  const char* kWords[] = {"once", "there", "was", "a", "little", "dog", "who", "loved", "the"};
  for (int i = 0; i < 900; ++i) words << kWords[(i * i + i / 7) % 9] << (i % 40 == 0 ? ".\n" : " ");
  words.close();
  TrainOptions options = Small(folder, "base");
  options.shape = {.layers = kLayers,
                   .d_model = kWidth,
                   .heads = 4,
                   .kv_heads = 4,
                   .d_ff = 256,
                   .experts = 4,
                   .experts_per_token = 2};
  options.steps = 4;
  const fs::path base = MustTrain(options);
  QuantizeOptions quantize;
  quantize.type = "q4_k_s";
  const auto report = Quantize(base, folder / "base.gguf", quantize);
  EXPECT_TRUE(report) << report.error().message;
  return folder / "base.gguf";
}

std::vector<float> LogitsOf(const fs::path& model, const std::string& adapter,
                            const std::string& arithmetic) {
  LoadOptions options;
  options.model = model.string();
  options.kv_type = "f32";  // rounding keys and values would hide what is measured
  options.adapter = adapter;
  options.arithmetic = arithmetic;
  options.threads = 2;
  auto loaded = LanguageModel::Load(options);
  EXPECT_TRUE(loaded) << loaded.error().message;
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 24; ++i) ids.push_back(3 + i * 37 % (static_cast<int32_t>(kVocab) - 3));
  auto logits = loaded->Logits(ids);
  EXPECT_TRUE(logits) << logits.error().message;
  return *std::move(logits);
}

/// √mean (x - y)² / √mean y².
double RelativeDistance(const std::vector<float>& x, const std::vector<float>& y) {
  EXPECT_EQ(x.size(), y.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    difference += std::pow(static_cast<double>(x[i]) - y[i], 2);
    norm += std::pow(static_cast<double>(y[i]), 2);
  }
  return std::sqrt(difference / norm);
}

TEST(Adapter, OverQ4KGivesTheMergedModelsLogitsInEveryFormat) {
  TempFolder folder;
  const fs::path base = QuantisedBase(folder.path());
  for (const char* format : {"peft", "peft-fused", "mistral"}) {
    SCOPED_TRACE(format);
    TrainOptions options = Small(folder.path(), format);
    options.model = base;
    options.lora_rank = 4;
    options.lora_targets = {"q_proj", "k_proj", "v_proj", "o_proj", "w1", "w2", "w3", "gate"};
    options.lora_format = format;
    options.steps = 6;
    options.rate = 0.02;
    const fs::path adapter = MustTrain(options);
    const fs::path merged = folder.path() / (std::string("merged-") + format);
    const Status folded = MergeAdapter(base, adapter, merged, {});
    ASSERT_TRUE(folded) << folded.error().message;

    const auto plain = LogitsOf(base, "", "float32");
    const auto beside = LogitsOf(base, adapter.string(), "float32");
    const auto inside = LogitsOf(merged, "", "float32");
    // The two differ by the rounding of sums alone. One product of kWidth terms is off by
    // √kWidth · 2⁻²⁴ of its value, in each of the eight matrices a layer and in W + scale · B A
    // itself; errors of different matrices add up in the residual stream.
    const double rounding =
        static_cast<double>(2 * 8 * kLayers + 1) * std::sqrt(kWidth) * std::ldexp(1.0, -24);
    EXPECT_LT(RelativeDistance(beside, inside), rounding);
    EXPECT_GT(RelativeDistance(beside, plain), 1000 * rounding);  // it learnt something

    // Integer products of rounded activations: the adapter must add no error of its own to the one
    // that they make without it. A third more: the adapted model is another model.
    const double allowed = 4.0 / 3 * RelativeDistance(LogitsOf(base, "", "fast"), plain);
    EXPECT_LT(RelativeDistance(LogitsOf(base, adapter.string(), "fast"), inside), allowed);
  }
}

TEST(Adapter, SaysWhichTargetsAndFormatsThereAre) {
  TempFolder folder;
  const fs::path base = QuantisedBase(folder.path());
  TrainOptions options = Small(folder.path(), "run");
  options.model = base;
  options.lora_rank = 4;
  options.lora_targets = {"q_porj"};
  auto refused = Train(options, [](const TrainUpdate&) {});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("gate, k_proj, o_proj, q_proj, v_proj, w1, w2, w3"),
            std::string::npos)
      << refused.error().message;
  options.lora_targets = {"q_proj"};
  options.lora_format = "pfet";
  refused = Train(options, [](const TrainUpdate&) {});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("peft, peft-fused, mistral"), std::string::npos);
}

}  // namespace
}  // namespace octet
