#include "model/lora.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "io/safetensors.h"
#include "support/model_runner.h"
#include "support/temp_folder.h"

namespace octet::testing {
namespace {

std::vector<std::string> AllTargets() {
  return {"q_proj", "k_proj", "v_proj", "o_proj", "w1", "w2", "w3", "gate"};
}

Adapters RandomAdapters(const ModelConfig& config) {
  Adapters adapters = Must(Adapters::Create(config, {4, 8, AllTargets()}));
  adapters.Initialise(3);
  uint64_t stream = 100;
  for (const Adapters::Entry& e : adapters.entries()) {
    ++stream;
    const auto b = adapters.B(e);
    for (size_t i = 0; i < b.size(); ++i)
      b[i] = static_cast<float>(0.1 * RandomNormal(1, stream, i));
  }
  return adapters;
}

TEST(Adapters, AFreshOneChangesNothingAndATrainedOneDoes) {
  const auto model = SyntheticModel(TinyMixtralConfig());
  const auto ids = RandomIds(20, model->config().vocab_size, 1);
  const auto base = ModelRunner(*model, {}).Prompt(ids);
  Adapters fresh = Must(Adapters::Create(model->config(), {4, 8, AllTargets()}));
  fresh.Initialise(3);
  fresh.AttachTo(model->mutable_weights());
  EXPECT_EQ(ModelRunner(*model, {}).Prompt(ids), base);
  Adapters trained = RandomAdapters(model->config());
  trained.AttachTo(model->mutable_weights());
  ModelRunner runner(*model, {});
  const auto changed = runner.Prompt(ids);
  EXPECT_NE(changed, base);
  EXPECT_EQ(runner.Prompt(ids, 3), changed);  // whatever the chunks
}

TEST(Adapters, FilesOfEveryFormatComeBackTheSameInEitherOrderOfRows) {
  for (const AdapterFormat format :
       {AdapterFormat::kPeft, AdapterFormat::kPeftFused, AdapterFormat::kMistral})
    for (const RopePairing pairing : {RopePairing::kHalves, RopePairing::kInterleaved}) {
      ModelConfig config = TinyMixtralConfig();
      config.rope_pairing = pairing;
      const Adapters adapters = RandomAdapters(config);
      TempFolder folder;
      ASSERT_TRUE(adapters.Save(folder.path(), "base", format));
      const Adapters back = Must(Adapters::Load(folder.path(), config));
      ASSERT_EQ(back.entries().size(), adapters.entries().size());
      for (size_t i = 0; i < back.entries().size(); ++i) {
        const auto &a = adapters.entries()[i], &b = back.entries()[i];
        EXPECT_EQ(a.name, b.name);
        EXPECT_EQ(a.scale, b.scale);
        EXPECT_TRUE(std::ranges::equal(adapters.A(a), back.A(b)));
        EXPECT_TRUE(std::ranges::equal(adapters.B(a), back.B(b))) << a.name;
      }
      // The other order holds the same rows elsewhere.
      config.rope_pairing =
          pairing == RopePairing::kHalves ? RopePairing::kInterleaved : RopePairing::kHalves;
      const Adapters other = Must(Adapters::Load(folder.path(), config));
      EXPECT_FALSE(
          std::ranges::equal(adapters.B(adapters.entries()[0]), other.B(other.entries()[0])));
    }
}

/// A tensor of a file as floats, with its shape.
struct FileTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
  float At(int64_t row, int64_t col) const {
    return values.at(static_cast<size_t>(row * shape[1] + col));
  }
};

std::map<std::string, FileTensor> ReadTensors(const std::filesystem::path& path) {
  MappedTensors source;
  EXPECT_TRUE(AddSafetensors(source, path, OpenMode::kFull));
  std::map<std::string, FileTensor> out;
  for (const TensorInfo& info : source.tensors()) {
    FileTensor& tensor = out[info.name];
    tensor.shape = info.shape;
    tensor.values.resize(static_cast<size_t>(info.values()));
    Info(info.format).decode(Must(source.Data(info)).data(), info.values(), tensor.values.data());
  }
  return out;
}

/// What PEFT's wrapper of a fused parameter adds to expert e, before scaling: A is read as
/// [experts, ranks, cols], B as [rows, ranks, experts].
double FusedDelta(const FileTensor& a, const FileTensor& b, int64_t experts, int64_t e, int64_t row,
                  int64_t col) {
  const int64_t ranks = a.shape[0] / experts;
  double sum = 0;
  for (int64_t r = 0; r < ranks; ++r)
    sum += static_cast<double>(b.At(row, r * experts + e)) * a.At(e * ranks + r, col);
  return sum;
}

TEST(Adapters, FusedExpertsLieAsPeftReadsThem) {
  const ModelConfig config = TinyMixtralConfig();
  const Adapters adapters = RandomAdapters(config);
  TempFolder folder;
  ASSERT_TRUE(adapters.Save(folder.path(), "base", AdapterFormat::kPeftFused));
  const auto tensors = ReadTensors(folder.path() / "adapter_model.safetensors");
  // Attention, router and two pairs of experts in each layer.
  EXPECT_EQ(tensors.size(), static_cast<size_t>(config.n_layers) * 2 * (4 + 1 + 2));
  const std::string layer = "base_model.model.model.layers.1.mlp.";
  const int64_t n = config.n_experts, rank = 4;
  using Shape = std::vector<int64_t>;
  EXPECT_EQ(tensors.at(layer + "gate.lora_A.weight").shape, (Shape{rank, config.d_model}));
  EXPECT_EQ(tensors.at(layer + "gate.lora_B.weight").shape, (Shape{n, rank}));
  const FileTensor& a = tensors.at(layer + "experts.base_layer.lora_A.weight");
  const FileTensor& b = tensors.at(layer + "experts.base_layer.lora_B.weight");
  const FileTensor& down_a = tensors.at(layer + "experts.lora_A.weight");
  const FileTensor& down_b = tensors.at(layer + "experts.lora_B.weight");
  EXPECT_EQ(a.shape, (Shape{2 * rank * n, config.d_model}));
  EXPECT_EQ(b.shape, (Shape{2 * config.d_ff, 2 * rank * n}));
  EXPECT_EQ(down_a.shape, (Shape{rank * n, config.d_ff}));
  EXPECT_EQ(down_b.shape, (Shape{config.d_model, rank * n}));
  for (const Adapters::Entry& e : adapters.entries()) {
    if (e.spec.layer != 1 || e.spec.expert < 0) continue;
    const bool down = e.spec.role == TensorRole::kW2;
    const int64_t first = e.spec.role == TensorRole::kW3 ? config.d_ff : 0;
    for (const auto& [row, col] : {std::pair<int64_t, int64_t>{0, 0}, {7, 3}, {e.rows - 1, 5}}) {
      double want = 0;
      for (int64_t r = 0; r < rank; ++r)
        want += static_cast<double>(adapters.B(e)[static_cast<size_t>(row * rank + r)]) *
                adapters.A(e)[static_cast<size_t>(r * e.cols + col)];
      const double got =
          FusedDelta(down ? down_a : a, down ? down_b : b, n, e.spec.expert, first + row, col);
      EXPECT_DOUBLE_EQ(got, want) << e.name;
    }
  }
  const auto json = nlohmann::json::parse(std::ifstream(folder.path() / "adapter_config.json"));
  EXPECT_EQ(json["target_modules"],
            (std::vector<std::string>{"q_proj", "k_proj", "v_proj", "o_proj"}));
  EXPECT_EQ(json["target_parameters"],
            (std::vector<std::string>{"mlp.gate.weight", "mlp.experts.gate_up_proj",
                                      "mlp.experts.down_proj"}));
  EXPECT_EQ(json["rank_pattern"][".*\\.gate_up_proj"], 2 * rank);
  EXPECT_EQ(json["alpha_pattern"][".*\\.gate_up_proj"], 16);
}

TEST(Adapters, OneFusedParameterAloneIsTheOuterOne) {
  const ModelConfig config = TinyMixtralConfig();
  for (const std::vector<std::string>& targets :
       {std::vector<std::string>{"w1"}, {"w2"}, {"w1", "w3"}, {"gate", "w2", "w3"}}) {
    Adapters adapters = Must(Adapters::Create(config, {3, 6, targets}));
    adapters.Initialise(1);
    for (const Adapters::Entry& e : adapters.entries())
      for (float& b : adapters.B(e)) b = 0.5f;
    TempFolder folder;
    ASSERT_TRUE(adapters.Save(folder.path(), "base", AdapterFormat::kPeftFused));
    const Adapters back = Must(Adapters::Load(folder.path(), config));
    for (const Adapters::Entry& e : adapters.entries()) {
      const auto found = std::ranges::find(back.entries(), e.name, &Adapters::Entry::name);
      ASSERT_NE(found, back.entries().end()) << e.name;
      EXPECT_TRUE(std::ranges::equal(adapters.A(e), back.A(*found))) << e.name;
      EXPECT_TRUE(std::ranges::equal(adapters.B(e), back.B(*found))) << e.name;
      EXPECT_EQ(found->scale, e.scale);
    }
  }
}

TEST(Adapters, PatternsGiveSomeModulesAnotherRankAndScale) {
  const ModelConfig config = TinyMixtralConfig();
  TempFolder folder;
  ASSERT_TRUE(Must(Adapters::Create(config, {4, 8, {"q_proj"}})).Save(folder.path(), "base"));
  const auto path = folder.path() / "adapter_config.json";
  nlohmann::json json = nlohmann::json::parse(std::ifstream(path));
  json["alpha_pattern"] = {{"layers.1.self_attn.q_proj", 2}};
  std::ofstream(path) << json;
  const Adapters adapters = Must(Adapters::Load(folder.path(), config));
  EXPECT_EQ(adapters.entries()[0].scale, 2);
  EXPECT_EQ(adapters.entries()[1].scale, 0.5);
  EXPECT_EQ(adapters.Save(folder.path() / "again", "base").error().code, ErrorCode::kUnsupported);

  json["rank_pattern"] = {{".*\\.q_proj", 5}};
  std::ofstream(path) << json;
  auto refused = Adapters::Load(folder.path(), config);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("expected [5, "), std::string::npos)
      << refused.error().message;
  json["rank_pattern"] = {{"layers.[01].q_proj", 4}};
  std::ofstream(path) << json;
  EXPECT_EQ(Adapters::Load(folder.path(), config).error().code, ErrorCode::kUnsupported);
}

TEST(Adapters, AMisspeltTargetIsRefusedWithTheValidNames) {
  const auto refused = Adapters::Create(TinyMixtralConfig(), {4, 8, {"q_proj", "vproj"}});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("\"vproj\""), std::string::npos);
  EXPECT_NE(refused.error().message.find("gate, k_proj, o_proj, q_proj, v_proj, w1, w2, w3"),
            std::string::npos)
      << refused.error().message;
}

TEST(Adapters, WhatFitsNoMatrixIsAnErrorNeverDropped) {
  ModelConfig larger = TinyMixtralConfig();
  larger.n_layers += 1;
  TempFolder folder;
  ASSERT_TRUE(RandomAdapters(larger).Save(folder.path(), "base"));
  auto refused = Adapters::Load(folder.path(), TinyMixtralConfig());
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("layers.3."), std::string::npos);

  ModelConfig wider = TinyMixtralConfig();
  wider.d_ff *= 2;
  refused = Adapters::Load(folder.path(), [&] {
    wider.n_layers = larger.n_layers;
    return wider;
  }());
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("expected ["), std::string::npos);

  const auto config_path = folder.path() / "adapter_config.json";
  nlohmann::json config = nlohmann::json::parse(std::ifstream(config_path));
  config["use_dora"] = true;
  std::ofstream(config_path) << config;
  refused = Adapters::Load(folder.path(), larger);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_FALSE(Adapters::Load(folder.path() / "absent", larger));
}

}  // namespace
}  // namespace octet::testing
