#include "model/lora.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

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

TEST(Adapters, PeftFilesComeBackTheSameInEitherOrderOfRows) {
  for (const RopePairing pairing : {RopePairing::kHalves, RopePairing::kInterleaved}) {
    ModelConfig config = TinyMixtralConfig();
    config.rope_pairing = pairing;
    const Adapters adapters = RandomAdapters(config);
    TempFolder folder;
    ASSERT_TRUE(adapters.Save(folder.path(), "base"));
    const Adapters back = Must(Adapters::Load(folder.path(), config));
    ASSERT_EQ(back.entries().size(), adapters.entries().size());
    EXPECT_EQ(back.scale(), adapters.scale());
    for (size_t i = 0; i < back.entries().size(); ++i) {
      const auto &a = adapters.entries()[i], &b = back.entries()[i];
      EXPECT_EQ(a.name, b.name);
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
