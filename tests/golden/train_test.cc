// Training against results of independent implementations (../shared/data/reference/README.md).
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "io/checkpoint.h"
#include "model/lora.h"
#include "support/model_runner.h"
#include "support/shared_data.h"
#include "train/adamw.h"
#include "train/learner.h"
#include "train/schedule.h"

namespace octet::testing {
namespace {

// The limits the reference suggests: two implementations in float32 with different orders of
// summation differ by up to 2.4e-6 in gradients.
constexpr double kLossLimit = 1e-5;
constexpr double kGradAbsolute = 1e-5, kGradRelative = 1e-4;
constexpr double kAdamLossLimit = 1e-4, kAdamWeightLimit = 3e-4;
constexpr double kNormRelative = 1e-5;

/// A model on its own float weights, with gradients.
class Trainable {
 public:
  explicit Trainable(const std::string& checkpoint, int threads = 2)
      : pool(threads),
        kernels(SelectKernels(Must(SelectIsaFromEnvironment()))),
        loaded_(Must(
            Model::Load(Must(OpenCheckpoint(SharedData() / "reference/models" / checkpoint))))),
        config(loaded_->config()),
        weights(Must(DecodeWeights(*loaded_))),
        grads(Must(Parameters::Create(config, "gradients"))),
        model(ModelOver(config, weights)),
        views(ViewsOf(config, grads)) {}

  Context context() { return {pool, kernels, arena, Arithmetic::kFloat32}; }

  ThreadPool pool;
  KernelTable kernels;
  Arena arena;

 private:
  std::unique_ptr<Model> loaded_;

 public:
  ModelConfig config;
  Parameters weights, grads;
  std::unique_ptr<Model> model;
  Gradients views;
};

/// Rows of ids [B, n], from array `suffix` of the golden; positions whose label is -100 predict
/// nothing. A mask cuts the padding off.
TrainBatch MakeBatch(const Golden& golden, int64_t index = 0) {
  const auto shape = golden.Shape("input_ids");
  const auto n = static_cast<size_t>(shape.back()),
             rows = static_cast<size_t>(shape[shape.size() - 2]);
  const auto ids = golden.Get<int32_t>("input_ids"), labels = golden.Get<int32_t>("labels");
  std::vector<int32_t> mask(ids.size(), 1);
  if (golden.Has("attention_mask")) mask = golden.Get<int32_t>("attention_mask");
  TrainBatch batch;
  for (size_t r = 0; r < rows; ++r) {
    const size_t first = (static_cast<size_t>(index) * rows + r) * n;
    std::vector<int32_t> tokens;
    std::vector<float> weights;
    for (size_t i = first; i < first + n && mask[i] != 0; ++i) {
      tokens.push_back(ids[i]);
      if (i > first) {
        weights.push_back(labels[i] == -100 ? 0.0f : 1.0f);
        EXPECT_TRUE(labels[i] == -100 || labels[i] == ids[i]);
      }
    }
    batch.Append(tokens, weights);
  }
  return batch;
}

void ExpectClose(const Golden& golden, const std::string& key, std::span<const float> values,
                 double absolute, double relative) {
  const auto want = golden.Get<float>(key);
  ASSERT_EQ(want.size(), values.size()) << key;
  double worst = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(values[i]) - want[i]) /
                                (absolute + relative * std::abs(want[i])));
  }
  EXPECT_LE(worst, 1) << key << ", in units of the limit";
}

/// Compares with every array `prefix/NAME` there is.
void ExpectTensors(const Golden& golden, const std::string& prefix, const Parameters& got,
                   double absolute, double relative) {
  int compared = 0;
  for (const Parameters::Tensor& tensor : got.tensors()) {
    const std::string key = prefix + "/" + tensor.name;
    if (!golden.Has(key)) continue;
    ++compared;
    ExpectClose(golden, key, got.Of(tensor), absolute, relative);
  }
  EXPECT_GT(compared, 5) << prefix;
}

class TrainGolden : public ::testing::Test {
 protected:
  void SetUp() override { OCTET_NEEDS_SHARED_DATA(); }
  static Golden Load(const std::string& name) {
    return Golden(SharedData() / "reference/golden" / name);
  }
};

TEST_F(TrainGolden, LossesAndEveryGradient) {
  const Golden golden = Load("mixtral-train/loss_grads");
  const TrainBatch batch = MakeBatch(golden);
  for (const auto& [name, coefficient, objective] :
       {std::tuple{"grad_ce", 0.0, true}, {"grad_aux", 1.0, false}}) {
    Trainable t("mixtral-train/hf-f32");
    Context context = t.context();
    Learner learner(*t.model, t.views, {.router = {.balance = coefficient}}, context);
    TrainBatch masked = batch;
    if (!objective) masked.weight.assign(masked.weight.size(), 0.0f);
    const LearnerValue value = learner.Accumulate(masked, objective ? 0 : 1);
    const double want = objective ? golden.meta().at("loss_ce").get<double>() : 0;
    EXPECT_NEAR(value.objective.loss, want, kLossLimit);
    EXPECT_NEAR(value.balance, golden.meta().at("aux_loss"), kLossLimit);
    ExpectTensors(golden, name, t.grads, kGradAbsolute, kGradRelative);
  }
}

TEST_F(TrainGolden, PaddedRowsAreJustShorter) {
  const Golden golden = Load("mixtral-train/padded");
  Trainable t("mixtral-train/hf-f32");
  Context context = t.context();
  Learner learner(*t.model, t.views, {.router = {.balance = 0.02}}, context);
  const LearnerValue value = learner.Accumulate(MakeBatch(golden));
  EXPECT_NEAR(value.objective.loss, golden.meta().at("loss_ce"), kLossLimit);
  EXPECT_NEAR(value.balance, golden.meta().at("aux_loss_masked"), kLossLimit);
  EXPECT_NEAR(value.total, golden.meta().at("loss_total"), kLossLimit);
  ExpectTensors(golden, "grad", t.grads, kGradAbsolute, kGradRelative);
}

TEST_F(TrainGolden, LargerModel) {
  const Golden golden = Load("mixtral-tiny/train");
  for (const auto& [name, coefficient] : {std::pair{"grad_ce", 0.0}, {"grad_aux", 1.0}}) {
    Trainable t("mixtral-tiny/hf-bf16-sharded");
    Context context = t.context();
    Learner learner(*t.model, t.views, {.router = {.balance = coefficient}}, context);
    TrainBatch batch = MakeBatch(golden);
    if (coefficient > 0) batch.weight.assign(batch.weight.size(), 0.0f);
    const LearnerValue value = learner.Accumulate(batch, coefficient > 0 ? 1 : 0);
    const double want_loss = coefficient > 0 ? 0 : golden.meta().at("loss_ce").get<double>();
    EXPECT_NEAR(value.objective.loss, want_loss, kLossLimit);
    EXPECT_NEAR(value.balance, golden.meta().at("aux_loss"), kLossLimit);
    ExpectTensors(golden, name, t.grads, kGradAbsolute, kGradRelative);
    if (coefficient > 0) continue;
    const auto& norms = golden.meta().at("grad_ce_l2");
    for (const Parameters::Tensor& tensor : t.grads.tensors()) {
      double sum = 0;
      for (const float g : t.grads.Of(tensor)) sum += static_cast<double>(g) * g;
      const double want = norms.at(tensor.name);
      EXPECT_NEAR(std::sqrt(sum), want, kNormRelative * want + kGradAbsolute) << tensor.name;
    }
  }
}

TEST_F(TrainGolden, TwentyUpdatesOfAdamW) {
  const Golden golden = Load("mixtral-train/adamw");
  Trainable t("mixtral-train/hf-f32");
  Context context = t.context();
  Learner learner(*t.model, t.views, {}, context);
  AdamW optimizer = Must(AdamW::Create(AllTensors(t.weights, t.grads), {.decay_vectors = true}));
  const auto losses = golden.meta().at("losses").get<std::vector<double>>();
  for (size_t i = 0; i < losses.size(); ++i) {
    t.grads.SetZero();
    const LearnerValue value = learner.Accumulate(MakeBatch(golden, static_cast<int64_t>(i)));
    EXPECT_NEAR(value.objective.loss, losses[i], kAdamLossLimit) << "update " << i;
    optimizer.Step(1e-3, 1, context);
  }
  ExpectTensors(golden, "final_params", t.weights, kAdamWeightLimit, 0);
}

TEST_F(TrainGolden, TwentyUpdatesWithClippingAndCosine) {
  const Golden golden = Load("mixtral-train/adamw");
  const auto& meta = golden.meta().at("variant_clip");
  Trainable t("mixtral-train/hf-f32");
  Context context = t.context();
  Learner learner(*t.model, t.views, {.router = {.balance = 0.02}}, context);
  AdamW optimizer = Must(AdamW::Create(AllTensors(t.weights, t.grads), {}));
  const Schedule schedule{
      .kind = ScheduleKind::kCosine, .peak = 1e-3, .steps = 20, .warmup_steps = 5};
  for (int64_t i = 0; i < 20; ++i) {
    const auto at = static_cast<size_t>(i);
    t.grads.SetZero();
    const LearnerValue value = learner.Accumulate(MakeBatch(golden, i));
    EXPECT_NEAR(value.total, meta.at("losses")[at], kAdamLossLimit) << "update " << i;
    const double norm = GradientNorm(optimizer.tensors(), context);
    const double want_norm = meta.at("grad_norm_before_clip")[at];
    EXPECT_NEAR(norm, want_norm, kAdamLossLimit * want_norm) << "update " << i;
    EXPECT_NEAR(schedule.At(i), meta.at("lr")[at], 1e-15);
    optimizer.Step(schedule.At(i), norm > 1 ? 1 / norm : 1, context);
  }
  ExpectTensors(golden, "variant_clip_final_params", t.weights, kAdamWeightLimit, 0);
}

/// prompt + completion of the golden, chosen then rejected.
TrainBatch PairBatch(const Golden& golden) {
  TrainBatch batch;
  const size_t prompt = golden.meta().at("prompt_len");
  for (const char* key : {"chosen_ids", "rejected_ids"}) {
    const auto ids = golden.Get<int32_t>(key);
    std::vector<float> weights(ids.size() - 1, 1.0f);
    std::fill_n(weights.begin(), prompt - 1, 0.0f);
    batch.Append(ids, weights);
  }
  return batch;
}

TEST_F(TrainGolden, DirectPreferenceOptimisation) {
  const Golden golden = Load("mixtral-train/dpo");
  const auto& meta = golden.meta();
  TrainBatch batch = PairBatch(golden);
  {
    Trainable reference("mixtral-train/hf-f32");
    Context context = reference.context();
    const auto sums =
        Learner(*reference.model, reference.views, {}, context).CompletionLogProbs(batch);
    EXPECT_NEAR(sums[0], meta.at("logps").at("reference_chosen"), 10 * kLossLimit);
    EXPECT_NEAR(sums[1], meta.at("logps").at("reference_rejected"), 10 * kLossLimit);
    batch.completions[0].reference = sums[0];
    batch.completions[1].reference = sums[1];
  }
  Trainable policy("mixtral-train/dpo-policy-hf-f32");
  Context context = policy.context();
  const double beta = meta.at("beta");
  Learner smoothed(*policy.model, policy.views, {.objective = {Objective::kDpo, beta, 0.1}},
                   context);
  EXPECT_NEAR(smoothed.Evaluate(batch).objective.loss, meta.at("loss_label_smoothing_0_1"),
              kLossLimit);
  Learner learner(*policy.model, policy.views, {.objective = {Objective::kDpo, beta}}, context);
  const ObjectiveValue value = learner.Accumulate(batch).objective;
  EXPECT_NEAR(value.loss, meta.at("loss"), kLossLimit);
  EXPECT_NEAR(value.reward_chosen, meta.at("rewards_chosen"), kLossLimit);
  EXPECT_NEAR(value.reward_rejected, meta.at("rewards_rejected"), kLossLimit);
  EXPECT_EQ(value.correct, 1);
  ExpectTensors(golden, "grad", policy.grads, kGradAbsolute, kGradRelative);
}

TEST_F(TrainGolden, LoraForwardAndGradients) {
  const Golden golden = Load("mixtral-train/lora");
  for (const char* layout : {"lora-peft", "lora-mistral"}) {
    SCOPED_TRACE(layout);
    Trainable t("mixtral-train/hf-f32");
    Adapters adapters =
        Must(Adapters::Load(SharedData() / "reference/models/mixtral-train" / layout, t.config));
    EXPECT_EQ(adapters.entries()[0].scale, 2.0f);
    adapters.AttachTo(t.model->mutable_weights());
    Adapters grads = Must(Adapters::Create(t.config, adapters.options()));
    Gradients frozen = FrozenGradients(t.config);
    grads.AddViewsTo(frozen);
    Context context = t.context();
    Learner learner(*t.model, frozen, {}, context);
    const TrainBatch batch = MakeBatch(golden);
    EXPECT_NEAR(learner.Accumulate(batch).objective.loss, golden.meta().at("loss_ce"), kLossLimit);
    for (const Adapters::Entry& e : grads.entries()) {
      ExpectClose(golden, "grad/" + e.name + ".lora_A.weight", grads.A(e), kGradAbsolute,
                  kGradRelative);
      ExpectClose(golden, "grad/" + e.name + ".lora_B.weight", grads.B(e), kGradAbsolute,
                  kGradRelative);
    }
    // 1e-4 is the reference's limit for logits.
    ModelRunner runner(*t.model, {});
    std::vector<float> logits;
    const auto ids = golden.Get<int32_t>("input_ids");
    for (size_t row = 0; row < 2; ++row) {
      const auto part = runner.Prompt({ids.begin() + static_cast<int64_t>(row) * 24,
                                       ids.begin() + static_cast<int64_t>(row + 1) * 24});
      logits.insert(logits.end(), part.begin(), part.end());
    }
    ExpectClose(golden, "logits", logits, 1e-4, 0);
  }
}

}  // namespace
}  // namespace octet::testing
