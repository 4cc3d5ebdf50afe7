#include "ptq/recipe.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace octet {
namespace {

ModelConfig Mixtral8x22B() {
  ModelConfig config;
  config.architecture = "mixtral";
  config.n_layers = 56;
  config.d_model = 6144;
  config.n_heads = 48;
  config.n_kv_heads = 8;
  config.head_dim = 128;
  config.d_ff = 16384;
  config.n_experts = 8;
  config.n_experts_per_token = 2;
  config.vocab_size = 32000;
  return config;
}

ModelConfig Llama2_7B() {
  ModelConfig config;
  config.architecture = "llama";
  config.n_layers = 32;
  config.d_model = 4096;
  config.n_heads = 32;
  config.n_kv_heads = 32;
  config.head_dim = 128;
  config.d_ff = 11008;
  config.vocab_size = 32000;
  return config;
}

double Gigabytes(Recipe recipe, const ModelConfig& config, bool has_importance) {
  const FormatChooser chooser(recipe, {}, config, has_importance);
  int64_t bytes = 0;
  for (const TensorSpec& spec : TensorSpecs(config)) {
    int64_t values = 1;
    for (const int64_t dimension : spec.shape) values *= dimension;
    bytes += FormatBytes(chooser.Choose("", spec.role, spec.layer, spec.shape.back()), values);
  }
  return static_cast<double>(bytes) * 1e-9;
}

// Sizes of files that people download (bartowski/Mixtral-8x22B-v0.1-GGUF, llama.cpp of April 2024).
// Each is the sum of two or three parts of less than 50 GB, stated to 0.01 GB.
TEST(Recipe, GivesTheSizesOfPublishedMixtralFiles) {
  const std::pair<Recipe, double> published[] = {{Recipe::kQ5_K_M, 99.96}, {Recipe::kQ5_K_S, 96.97},
                                                 {Recipe::kQ4_K_M, 85.58}, {Recipe::kQ4_K_S, 80.47},
                                                 {Recipe::kIq4_Nl, 80.47}, {Recipe::kIq4_Xs, 76.35},
                                                 {Recipe::kQ3_K_L, 72.57}, {Recipe::kQ3_K_M, 67.78},
                                                 {Recipe::kQ3_K_S, 61.49}, {Recipe::kQ2_K, 52.10}};
  for (const auto& [recipe, gigabytes] : published)
    EXPECT_NEAR(Gigabytes(recipe, Mixtral8x22B(), false), gigabytes, 0.015)
        << Recipes()[static_cast<size_t>(recipe)].name;
}

// The same for TheBloke/Llama-2-7B-GGUF (2023), in one part.
TEST(Recipe, GivesTheSizesOfPublishedDenseFiles) {
  const std::pair<Recipe, double> published[] = {{Recipe::kQ8_0, 7.16},   {Recipe::kQ6_K, 5.53},
                                                 {Recipe::kQ5_K_M, 4.78}, {Recipe::kQ4_K_M, 4.08},
                                                 {Recipe::kQ4_K_S, 3.86}, {Recipe::kQ3_K_L, 3.60},
                                                 {Recipe::kQ3_K_M, 3.30}, {Recipe::kQ3_K_S, 2.95}};
  for (const auto& [recipe, gigabytes] : published)
    EXPECT_NEAR(Gigabytes(recipe, Llama2_7B(), false), gigabytes, 0.006)
        << Recipes()[static_cast<size_t>(recipe)].name;
}

TEST(Recipe, IsFoundByName) {
  for (const RecipeInfo& info : Recipes()) {
    EXPECT_EQ(RecipeFromName(info.name).value(), info.recipe);
    EXPECT_EQ(Recipes()[static_cast<size_t>(info.recipe)].recipe, info.recipe);
  }
  EXPECT_EQ(RecipeFromName("Q4_K_M").value(), Recipe::kQ4_K_M);
  EXPECT_EQ(RecipeFromName("q4_k").value(), Recipe::kQ4_K_M);
  const auto unknown = RecipeFromName("q7_k");
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("q4_k_m"), std::string::npos);
}

TEST(Recipe, KeepsNormsAndRoutersInF32) {
  const ModelConfig config = Mixtral8x22B();
  RecipeChanges changes;
  changes.overrides.push_back(ParseOverride(".*=q2_k").value());
  const FormatChooser chooser(Recipe::kQ2_K, std::move(changes), config, false);
  for (const TensorRole role :
       {TensorRole::kAttnNorm, TensorRole::kFfnNorm, TensorRole::kFinalNorm, TensorRole::kRouter})
    EXPECT_EQ(chooser.Choose("x", role, 0, 6144), Format::kF32);
}

TEST(Recipe, TakesChangesInTheirOrder) {
  const ModelConfig config = Mixtral8x22B();
  RecipeChanges changes;
  changes.experts = Format::kQ3_K;
  changes.attention = Format::kQ6_K;
  changes.overrides.push_back(ParseOverride(R"(blk\.0\..*down=q8_0)").value());
  changes.overrides.push_back(ParseOverride("down=q5_k").value());
  const FormatChooser chooser(Recipe::kQ4_K_M, std::move(changes), config, false);
  EXPECT_EQ(chooser.Choose("blk.0.ffn_down_exps.weight", TensorRole::kW2, 0, 16384), Format::kQ8_0);
  EXPECT_EQ(chooser.Choose("blk.1.ffn_down_exps.weight", TensorRole::kW2, 1, 16384), Format::kQ5_K);
  EXPECT_EQ(chooser.Choose("blk.1.ffn_up_exps.weight", TensorRole::kW3, 1, 6144), Format::kQ3_K);
  EXPECT_EQ(chooser.Choose("blk.1.attn_k.weight", TensorRole::kWk, 1, 6144), Format::kQ6_K);
  EXPECT_EQ(chooser.Choose("output.weight", TensorRole::kHead, -1, 6144), Format::kQ6_K);
  EXPECT_EQ(chooser.Choose("token_embd.weight", TensorRole::kEmbedding, -1, 6144), Format::kQ4_K);
}

TEST(Recipe, FindsAFormatForEveryRowLength) {
  const ModelConfig config = Mixtral8x22B();
  for (const RecipeInfo& info : Recipes()) {
    const FormatChooser chooser(info.recipe, {}, config, false);
    for (const int64_t cols : {72, 96, 100, 256, 288}) {
      for (const TensorRole role : {TensorRole::kEmbedding, TensorRole::kHead, TensorRole::kWq,
                                    TensorRole::kWv, TensorRole::kW2}) {
        const Format format = chooser.Choose("x", role, 0, cols);
        EXPECT_EQ(cols % Info(format).block_values, 0) << info.name << " " << cols;
      }
    }
  }
  const FormatChooser chooser(Recipe::kQ4_K_S, {}, config, false);
  EXPECT_EQ(chooser.Choose("x", TensorRole::kW1, 9, 96), Format::kQ5_0);
  EXPECT_EQ(chooser.Choose("x", TensorRole::kW1, 9, 100), Format::kF16);
}

TEST(Recipe, SaysWhatIsWrongWithAnOverride) {
  for (const char* text : {"q8_0", "=q8_0", "attn=q9_z", "(=q8_0"}) {
    const auto parsed = ParseOverride(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(parsed.error().message.find(text), std::string::npos);
  }
}

}  // namespace
}  // namespace octet
