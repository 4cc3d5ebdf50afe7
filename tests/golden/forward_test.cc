// Every reference checkpoint in every format it comes in, against results of independent
// implementations.
#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <filesystem>
#include <map>

#include "support/model_runner.h"
#include "support/shared_data.h"

namespace octet::testing {
namespace {

namespace fs = std::filesystem;

struct Case {
  fs::path checkpoint;
  fs::path golden;  // stem
};

void PrintTo(const Case& c, std::ostream* os) {
  *os << c.checkpoint.parent_path().filename() << "/" << c.checkpoint.filename();
}

/// Which results belong to a checkpoint, by the reference data's README.
fs::path GoldenFor(const fs::path& checkpoint, const std::string& model) {
  const fs::path goldens = SharedData() / "reference/golden" / model;
  const fs::path own = goldens / checkpoint.stem();
  if (checkpoint.extension() == ".gguf" && fs::exists(own.string() + ".bin")) return own;
  const fs::path bf16 = goldens / "infer_bf16";
  if (checkpoint.filename() == "hf-bf16" && fs::exists(bf16.string() + ".bin")) return bf16;
  return fs::exists((goldens / "infer").string() + ".bin") ? goldens / "infer" : fs::path();
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  if (SharedData().empty()) return cases;
  for (const auto& model : fs::directory_iterator(SharedData() / "reference/models")) {
    for (const auto& format : fs::directory_iterator(model.path())) {
      std::vector<fs::path> checkpoints = {format.path()};
      if (format.path().filename() == "gguf") {
        checkpoints.clear();
        for (const auto& file : fs::directory_iterator(format.path()))
          checkpoints.push_back(file.path());
      }
      for (const fs::path& checkpoint : checkpoints) {
        const fs::path golden = GoldenFor(checkpoint, model.path().filename().string());
        if (!golden.empty()) cases.push_back({checkpoint, golden});
      }
    }
  }
  std::sort(cases.begin(), cases.end(),
            [](const Case& a, const Case& b) { return a.checkpoint < b.checkpoint; });
  return cases;
}

/// Worst ‖out − ref‖ / ‖ref‖ over rows.
double WorstRelativeError(const std::vector<float>& out, const std::vector<float>& ref,
                          size_t width) {
  EXPECT_EQ(out.size(), ref.size());
  if (out.size() != ref.size()) return INFINITY;
  double worst = 0;
  for (size_t row = 0; row * width < ref.size(); ++row) {
    double difference = 0, norm = 0;
    for (size_t i = row * width; i < (row + 1) * width; ++i) {
      difference += std::pow(static_cast<double>(out[i]) - ref[i], 2);
      norm += std::pow(static_cast<double>(ref[i]), 2);
    }
    worst = std::max(worst, std::sqrt(difference / norm));
  }
  return worst;
}

class Trace : public Observer {
 public:
  void OnActivation(const char* name, int32_t, View<const float, 2> value) override {
    auto& out = activations[name];
    for (int64_t t = 0; t < value.shape[0]; ++t)
      out.insert(out.end(), value[t].begin(), value[t].end());
    width[name] = static_cast<size_t>(value.shape[1]);
  }
  void OnRouting(int32_t, View<const int32_t, 2> chosen, View<const float, 2> weights) override {
    experts.insert(experts.end(), chosen.data, chosen.data + chosen.size());
    expert_weights.insert(expert_weights.end(), weights.data, weights.data + weights.size());
  }
  std::map<std::string, std::vector<float>> activations;
  std::map<std::string, size_t> width;
  std::vector<int32_t> experts;
  std::vector<float> expert_weights;
};

class ForwardGolden : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    model_ = Must(Model::Load(Must(OpenCheckpoint(GetParam().checkpoint))));
    golden_ = std::make_unique<Golden>(GetParam().golden);
    vocab_ = static_cast<size_t>(model_->config().vocab_size);
  }
  std::unique_ptr<Model> model_;
  std::unique_ptr<Golden> golden_;
  size_t vocab_ = 0;
};

/// Float32 rounding through a few layers: the independent implementations differ among themselves
/// by 2e-6 to 1e-5.
constexpr double kFloat32Limit = 2e-5;

TEST_P(ForwardGolden, LogitsAgree) {
  ModelRunner runner(*model_, {});
  const auto ids = golden_->Get<int32_t>("prompt_ids");
  const double error =
      WorstRelativeError(runner.Prompt(ids), golden_->Get<float>("logits"), vocab_);
  RecordProperty("relative_error", std::to_string(error));
  EXPECT_LT(error, kFloat32Limit);
}

TEST_P(ForwardGolden, IncrementalEqualsOneShotBitwise) {
  const auto ids = golden_->Get<int32_t>("prompt_ids");
  for (const Format kv : {Format::kF32, Format::kF16}) {
    ModelRunner runner(*model_, {.kv_format = kv});
    EXPECT_TRUE(runner.Prompt(ids, 1) == runner.Prompt(ids)) << Info(kv).name;
  }
}

TEST_P(ForwardGolden, GreedyContinuationIsEqual) {
  ModelRunner runner(*model_, {});
  const auto expected = golden_->Get<int32_t>("greedy_ids");
  EXPECT_EQ(runner.Greedy(golden_->Get<int32_t>("greedy_prompt_ids"), expected.size()), expected);
}

TEST_P(ForwardGolden, LongTextAgrees) {
  if (!golden_->Has("long_ids")) GTEST_SKIP() << "this golden has no long text";
  ModelRunner runner(*model_, {});
  Trace trace;
  const auto logits = runner.Prompt(golden_->Get<int32_t>("long_ids"), 0, &trace);
  std::vector<float> chosen;
  for (const int32_t position : golden_->Get<int32_t>("long_positions")) {
    const auto row = logits.begin() + static_cast<int64_t>(position) * static_cast<int64_t>(vocab_);
    chosen.insert(chosen.end(), row, row + static_cast<int64_t>(vocab_));
  }
  EXPECT_LT(WorstRelativeError(chosen, golden_->Get<float>("long_logits"), vocab_), kFloat32Limit);
  if (golden_->Has("long_experts")) {
    const auto expected = golden_->Get<uint8_t>("long_experts");
    EXPECT_TRUE(
        std::equal(trace.experts.begin(), trace.experts.end(), expected.begin(), expected.end()));
  }
}

TEST_P(ForwardGolden, ActivationsAndRoutingAgree) {
  if (!golden_->Has("layer_out")) GTEST_SKIP() << "this golden has no activations";
  ModelRunner runner(*model_, {});
  Trace trace;
  runner.Prompt(golden_->Get<int32_t>("prompt_ids"), 0, &trace);
  for (const char* name : {"embed", "attn_out", "h_mid", "ffn_out", "layer_out", "final_norm"}) {
    EXPECT_LT(
        WorstRelativeError(trace.activations[name], golden_->Get<float>(name), trace.width[name]),
        kFloat32Limit)
        << name;
  }
  if (!golden_->Has("experts")) return;
  EXPECT_TRUE(trace.experts == golden_->Get<int32_t>("experts"));
  // Over the whole table: one row of few logits can lie near zero by chance.
  const auto router = golden_->Get<float>("router_logits");
  EXPECT_LT(WorstRelativeError(trace.activations["router_logits"], router, router.size()),
            kFloat32Limit);
  const auto k = static_cast<size_t>(model_->config().n_experts_per_token);
  EXPECT_LT(WorstRelativeError(trace.expert_weights, golden_->Get<float>("expert_weights"), k),
            kFloat32Limit);
}

std::string NameOf(const ::testing::TestParamInfo<Case>& info) {
  const fs::path& p = info.param.checkpoint;
  std::string name = p.extension() == ".gguf"
                         ? p.stem().string()
                         : (p.parent_path().filename() / p.filename()).string();
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ForwardGolden);
INSTANTIATE_TEST_SUITE_P(Checkpoints, ForwardGolden, ::testing::ValuesIn(Cases()), NameOf);

TEST(ForwardGoldenData, IsHere) {
  OCTET_NEEDS_SHARED_DATA();
  EXPECT_GE(Cases().size(), 20u);
}

}  // namespace
}  // namespace octet::testing
