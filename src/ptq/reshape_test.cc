#include "ptq/reshape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "model/parameters.h"
#include "model/weights.h"
#include "ptq/convert.h"
#include "support/model_runner.h"
#include "support/temp_folder.h"
#include "support/tiny_checkpoint.h"

namespace octet {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::Must;

fs::path WriteTiny(const fs::path& folder, const ModelConfig& config, Naming naming) {
  testing::WriteTinyCheckpoint(folder, config, naming, Format::kF32);
  return folder;
}

fs::path Reshaped(const fs::path& from, const fs::path& to, const Reshape& reshape,
                  ConvertType type = {}) {
  ConvertOptions options;
  options.type = type;
  ConvertChanges changes;
  changes.reshape = &reshape;
  const auto report = ConvertCheckpoint(from, to, options, changes);
  EXPECT_TRUE(report) << report.error().message;
  return to;
}

std::string ReshapeError(const fs::path& from, const Reshape& reshape) {
  const auto reshaped = ReshapeCheckpoint(Must(OpenCheckpoint(from)), reshape);
  if (reshaped) return "no error";
  EXPECT_EQ(reshaped.error().code, ErrorCode::kInvalidArgument);
  return reshaped.error().message;
}

std::vector<float> Logits(const fs::path& path) {
  const auto model = Must(Model::Load(Must(OpenCheckpoint(path))));
  return testing::ModelRunner(*model, {}).Prompt({1, 4, 2, 6, 0, 3, 5});
}

/// Every tensor by Hugging Face's name, decoded, in the canonical row order.
std::map<std::string, std::vector<float>> Weights(const fs::path& path) {
  const auto model = Must(Model::Load(Must(OpenCheckpoint(path))));
  const Parameters parameters = Must(DecodeWeights(*model));
  std::map<std::string, std::vector<float>> weights;
  for (const Parameters::Tensor& tensor : parameters.tensors()) {
    const auto values = parameters.Of(tensor);
    weights[tensor.name] = {values.begin(), values.end()};
  }
  return weights;
}

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double d = 0, n = 0;
  EXPECT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    d += std::pow(a[i] - b[i], 2);
    n += std::pow(b[i], 2);
  }
  return std::sqrt(d / n);
}

class Upcycling : public ::testing::TestWithParam<Naming> {};

// Equal experts whose weights sum to one are the dense feed-forward.
TEST_P(Upcycling, WithoutNoiseSaysWhatTheDenseModelSays) {
  const testing::TempFolder folder;
  const fs::path dense = WriteTiny(folder.path() / "dense", testing::TinyConfig(0), GetParam());
  for (const char* name : {"experts", "experts.gguf"}) {
    Reshape reshape;
    reshape.experts = 5;
    reshape.router_std = 1;  // so that the router's choices differ
    const fs::path sparse = Reshaped(dense, folder.path() / name, reshape);
    const auto config = Must(ReadModelConfig(Must(OpenCheckpoint(sparse))));
    EXPECT_EQ(config.n_experts, 5);
    EXPECT_EQ(config.n_experts_per_token, 2);
    EXPECT_LT(Distance(Logits(sparse), Logits(dense)), 1e-6) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Upcycling, ::testing::Values(Naming::kHfSplit, Naming::kMistral));

TEST(Upcycle, NoiseMakesExpertsDifferByWhatWasAsked) {
  const testing::TempFolder folder;
  const fs::path dense =
      WriteTiny(folder.path() / "dense", testing::TinyConfig(0), Naming::kHfSplit);
  Reshape reshape;
  reshape.experts = 4;
  reshape.noise = 0.25;
  const auto base = Weights(dense);
  const auto sparse = Weights(Reshaped(dense, folder.path() / "a", reshape));
  const std::vector<float>& gate = base.at("model.layers.0.mlp.gate_proj.weight");
  std::vector<std::vector<float>> experts;
  for (int e = 0; e < 4; ++e)
    experts.push_back(
        sparse.at(fmt::format("model.layers.0.block_sparse_moe.experts.{}.w1.weight", e)));
  for (int e = 0; e < 4; ++e) {
    // 160 normal draws: their root mean square has a relative deviation of 1/sqrt(320).
    EXPECT_NEAR(Distance(experts[e], gate), 0.25, 0.25 * 4 / std::sqrt(320.0));
    if (e > 0) {
      EXPECT_NE(experts[e], experts[0]);
    }
  }
  EXPECT_EQ(base.at("model.layers.1.self_attn.q_proj.weight"),
            sparse.at("model.layers.1.self_attn.q_proj.weight"));
  EXPECT_EQ(sparse, Weights(Reshaped(dense, folder.path() / "b", reshape)));
  reshape.seed = 1;
  EXPECT_NE(sparse, Weights(Reshaped(dense, folder.path() / "c", reshape)));
}

TEST(SharedHeads, AreMeansOfTheHeadsTheyReplace) {
  const testing::TempFolder folder;
  ModelConfig config = testing::TinyConfig();
  config.n_kv_heads = 4;
  for (const Naming naming : {Naming::kHfSplit, Naming::kHfFused, Naming::kMistral}) {
    const fs::path name = folder.path() / fmt::format("{}", static_cast<int>(naming));
    const fs::path from = WriteTiny(name, config, naming);
    Reshape reshape;
    reshape.kv_heads = 2;
    const auto before = Weights(from);
    // Where rows of q and k keep their order.
    const char* suffix = naming == Naming::kMistral ? ".gguf" : "-shared";
    const auto after = Weights(Reshaped(from, name.string() + suffix, reshape, ConvertType::kF32));
    const int64_t head = config.head_dim * config.d_model;
    for (const char* projection : {"k_proj", "v_proj"}) {
      const std::string tensor = fmt::format("model.layers.1.self_attn.{}.weight", projection);
      const auto &old = before.at(tensor), &pooled = after.at(tensor);
      ASSERT_EQ(pooled.size(), old.size() / 2);
      for (int64_t i = 0; i < 2 * head; ++i) {
        const int64_t first = i / head * 2 * head + i % head;
        // The source's values have few bits, so that a mean of two is exact.
        ASSERT_EQ(pooled[i], (old[first] + old[first + head]) / 2) << tensor << " " << i;
      }
    }
    EXPECT_EQ(before.at("model.layers.1.block_sparse_moe.experts.2.w2.weight"),
              after.at("model.layers.1.block_sparse_moe.experts.2.w2.weight"));
  }
}

TEST(SharedHeads, OfEqualHeadsChangeNothing) {
  const testing::TempFolder folder;
  ModelConfig config = testing::TinyConfig();
  config.n_kv_heads = 1;
  const fs::path one = WriteTiny(folder.path() / "one", config, Naming::kHfSplit);
  // One head is its own mean.
  Reshape reshape;
  reshape.kv_heads = 1;
  EXPECT_EQ(Logits(Reshaped(one, folder.path() / "same", reshape)), Logits(one));
}

TEST(Reshape, SaysWhatItCannotDo) {
  const testing::TempFolder folder;
  const fs::path sparse =
      WriteTiny(folder.path() / "sparse", testing::TinyConfig(), Naming::kHfSplit);
  const fs::path dense =
      WriteTiny(folder.path() / "dense", testing::TinyConfig(0), Naming::kHfSplit);
  Reshape reshape;
  reshape.experts = 8;
  EXPECT_THAT(ReshapeError(sparse, reshape), HasSubstr("has 3 experts a layer already"));
  reshape.experts_per_token = 9;
  EXPECT_THAT(ReshapeError(dense, reshape), HasSubstr("8 experts of which a token uses 9"));
  reshape = {};
  reshape.kv_heads = 3;
  EXPECT_THAT(ReshapeError(dense, reshape), HasSubstr("2 key/value heads cannot be pooled to 3"));
}

}  // namespace
}  // namespace octet
