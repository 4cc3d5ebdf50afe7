// What must not change a training step's bits: threads, recomputation, the way inference computes.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/model_runner.h"
#include "train/initial.h"
#include "train/learner.h"
#include "train/trained_model.h"

namespace octet::testing {
namespace {

struct Case {
  ModelConfig config = TinyMixtralConfig();
  std::vector<size_t> lengths = {70, 1, 33, 130};
  double capacity_factor = 0, dropout = 0;
};

TrainBatch MakeBatch(const Case& c, size_t first = 0, size_t count = 100) {
  TrainBatch batch;
  for (size_t s = first; s < std::min(c.lengths.size(), first + count); ++s)
    batch.Append(RandomIds(c.lengths[s], c.config.vocab_size, 40 + s));
  batch.dropout_seed = 7;
  return batch;
}

struct Step {
  std::vector<float> grads;
  LearnerValue value;
};

/// How a step is computed, and what of it is left out.
struct Way {
  Recompute recompute = Recompute::kNone;
  int threads = 2;
  Arithmetic arithmetic = Arithmetic::kFloat32;
  double capacity_factor = 0, dropout = 0;
};

/// One accumulation of each batch into the same gradients.
Step RunStep(const Model& model, const std::vector<TrainBatch>& batches, const Way& way,
             double normaliser = 0) {
  ThreadPool pool(way.threads);
  const KernelTable kernels = SelectKernels(Must(SelectIsaFromEnvironment()));
  Arena arena;
  Context context{pool, kernels, arena, way.arithmetic};
  Parameters grads = Must(Parameters::Create(model.config(), "gradients"));
  const Gradients views = ViewsOf(model.config(), grads);
  Learner learner(model, views,
                  {.router = {.balance = 0.02, .z = 0.001},
                   .recompute = way.recompute,
                   .capacity_factor = way.capacity_factor,
                   .dropout = way.dropout},
                  context);
  Step step;
  for (const TrainBatch& batch : batches)
    step.value = learner.Accumulate(batch, normaliser, 1.0 / static_cast<double>(batches.size()));
  step.grads.assign(grads.values().begin(), grads.values().end());
  return step;
}

std::vector<Case> Cases() {
  Case windowed, dense, tied;
  windowed.config.sliding_window = 20;
  dense.config.n_experts = 0;
  dense.config.n_experts_per_token = 0;
  dense.config.architecture = "mistral";
  tied.config.tied_embeddings = true;
  tied.config.n_experts_per_token = 3;
  Case crowded, forgetful;
  crowded.capacity_factor = 0.8;
  forgetful.dropout = 0.3;
  dense.dropout = 0.1;
  return {Case{}, windowed, dense, tied, crowded, forgetful};
}

TEST(TrainingStep, ForwardOnTheTapeHasInferencesBits) {
  for (const Case& c : Cases()) {
    const auto model = SyntheticModel(c.config);
    ModelRunner runner(*model, {});
    const TrainBatch batch = MakeBatch(c);
    std::vector<int32_t> rows(batch.token.size());
    std::iota(rows.begin(), rows.end(), 0);
    Tape tape(c.config, Recompute::kNone);
    Batch whole = batch.batch();
    whole.logit_rows = rows;
    tape.Begin(whole);
    Context& context = runner.context();
    const Arena::Scope scope(context.scratch);
    const auto logits = Forward(*model, whole, tape, {.tape = &tape}, context);
    size_t at = 0;
    for (size_t s = 0; s < c.lengths.size(); ++s) {
      const auto alone = runner.Prompt(RandomIds(c.lengths[s], c.config.vocab_size, 40 + s), 50);
      for (size_t i = 0; i < alone.size(); ++i, ++at) ASSERT_EQ(alone[i], logits.data[at]) << s;
    }
    EXPECT_EQ(static_cast<int64_t>(at), logits.size());
  }
}

TEST(TrainingStep, ThreadsAndRecomputationDoNotChangeABit) {
  for (const Case& c : Cases()) {
    const auto model = SyntheticModel(c.config);
    const auto run = [&](Recompute recompute, int threads) {
      return RunStep(*model, {MakeBatch(c)},
                     {recompute, threads, Arithmetic::kFloat32, c.capacity_factor, c.dropout});
    };
    const Step base = run(Recompute::kNone, 1);
    EXPECT_EQ(base.value.dropped > 0.2, c.capacity_factor > 0);
    for (const auto& [recompute, threads] :
         {std::pair{Recompute::kNone, 2}, {Recompute::kLayers, 1}, {Recompute::kLayers, 3}}) {
      const Step other = run(recompute, threads);
      EXPECT_EQ(base.grads, other.grads);
      EXPECT_EQ(base.value.total, other.value.total);
    }
  }
}

TEST(TrainingStep, ThreadsAndRecomputationDoNotChangeABitInBf16) {
  for (const Case& c : Cases()) {
    const auto model = SyntheticModel(c.config);
    const auto run = [&](Recompute recompute, int threads) {
      return RunStep(*model, {MakeBatch(c)},
                     {recompute, threads, Arithmetic::kBf16, c.capacity_factor, c.dropout});
    };
    const Step base = run(Recompute::kNone, 1);
    for (const auto& [recompute, threads] :
         {std::pair{Recompute::kNone, 2}, {Recompute::kLayers, 3}}) {
      const Step other = run(recompute, threads);
      EXPECT_EQ(base.grads, other.grads);
      EXPECT_EQ(base.value.total, other.value.total);
    }
  }
}

/// The gradients of a batch, added to zeros or written over what is no number.
std::vector<float> GradientsOf(const Model& model, const TrainBatch& batch, Arithmetic arithmetic,
                               bool begins) {
  ThreadPool pool(2);
  const KernelTable kernels = SelectKernels(Must(SelectIsaFromEnvironment()));
  Arena arena;
  Context context{pool, kernels, arena, arithmetic};
  Parameters grads = Must(Parameters::Create(model.config(), "gradients"));
  if (begins) {
    for (const Parameters::Tensor& tensor : grads.tensors()) {
      for (float& g : grads.Of(tensor)) g = std::numeric_limits<float>::quiet_NaN();
    }
  }
  const Gradients views = ViewsOf(model.config(), grads);
  Learner learner(model, views, {.router = {.balance = 0.02, .z = 0.001}}, context);
  learner.Accumulate(batch, 0, 1, begins);
  return {grads.values().begin(), grads.values().end()};
}

TEST(TrainingStep, WritesTheGradientsThatItWouldAddToZeros) {
  std::vector<Case> cases = Cases();
  Case one_token;  // experts without rows
  one_token.lengths = {1};
  cases.push_back(one_token);
  for (const Case& c : cases) {
    const auto model = SyntheticModel(c.config);
    for (const Arithmetic arithmetic : {Arithmetic::kFloat32, Arithmetic::kBf16}) {
      EXPECT_EQ(GradientsOf(*model, MakeBatch(c), arithmetic, true),
                GradientsOf(*model, MakeBatch(c), arithmetic, false));
    }
  }
}

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / norm);
}

TEST(TrainingStep, Bf16GradientsAreNearTheFloatOnes) {
  Case c;
  c.config.n_experts_per_token = c.config.n_experts;  // no routing that a rounding could flip
  const auto model = SyntheticModel(c.config);
  // A gradient lies behind at most eight products a layer, there and back, and the head's, with two
  // operands rounded by up to 2^-9 each; random errors add up as their squares.
  const double products = 16 * static_cast<double>(c.config.n_layers) + 2;
  for (const double dropout : {0.0, 0.25}) {
    const Step exact = RunStep(*model, {MakeBatch(c)}, {.dropout = dropout});
    const Step bf16 =
        RunStep(*model, {MakeBatch(c)}, {.arithmetic = Arithmetic::kBf16, .dropout = dropout});
    EXPECT_LT(Distance(bf16.grads, exact.grads), std::sqrt(2 * products) * 0x1p-9);
    EXPECT_GT(Distance(bf16.grads, exact.grads), 0x1p-12);
    EXPECT_NEAR(bf16.value.total, exact.value.total, 0x1p-9 * exact.value.total);
  }
}

TEST(TrainingStep, CapacityThatSufficesChangesNothingAndMeasuringIgnoresIt) {
  Case c;
  const auto model = SyntheticModel(c.config);
  for (const Arithmetic arithmetic : {Arithmetic::kFloat32, Arithmetic::kBf16}) {
    const auto run = [&](double factor) {
      return RunStep(*model, {MakeBatch(c)}, {.arithmetic = arithmetic, .capacity_factor = factor});
    };
    const Step all = run(0), roomy = run(static_cast<double>(c.config.n_experts)), tight = run(0.5);
    EXPECT_EQ(roomy.grads, all.grads);
    EXPECT_EQ(roomy.value.dropped, 0);
    EXPECT_NE(tight.grads, all.grads);
    EXPECT_GE(tight.value.dropped, 0.5 - 0.01);  // capacities are rounded up
  }
  ThreadPool pool(2);
  const KernelTable kernels = SelectKernels(Must(SelectIsaFromEnvironment()));
  Arena arena;
  Context context{pool, kernels, arena, Arithmetic::kFloat32};
  Parameters grads = Must(Parameters::Create(c.config, "gradients"));
  const Gradients views = ViewsOf(c.config, grads);
  Learner plain(*model, views, {}, context),
      tight(*model, views, {.capacity_factor = 0.5}, context);
  tight.Accumulate(MakeBatch(c));
  EXPECT_EQ(tight.Evaluate(MakeBatch(c)).total, plain.Evaluate(MakeBatch(c)).total);
  EXPECT_EQ(tight.CompletionLogProbs(MakeBatch(c)), plain.CompletionLogProbs(MakeBatch(c)));
}

/// A model whose weights can be moved, and its loss in a pass with dropout.
struct Movable {
  explicit Movable(const Case& c) {
    trained = Must(TrainWeights(c.config, Must(InitialWeights(c.config, 3, pool))));
    learner = std::make_unique<Learner>(*trained.model, trained.gradients,
                                        LearnerOptions{.dropout = c.dropout}, context);
  }
  double Loss(const TrainBatch& batch) {
    return learner->Accumulate(batch, 0, 1, true).objective.loss;
  }

  ThreadPool pool{2};
  KernelTable kernels = SelectKernels(Must(SelectIsaFromEnvironment()));
  Arena arena;
  Context context{pool, kernels, arena, Arithmetic::kFloat32};
  TrainedModel trained;
  std::unique_ptr<Learner> learner;
};

TEST(TrainingStep, GradientsWithDropoutAreThoseOfWhatStaysIn) {
  Case sparse, dense;
  sparse.config.n_experts_per_token = sparse.config.n_experts;  // nothing that a step could flip
  dense.config.n_experts = dense.config.n_experts_per_token = 0;
  dense.config.architecture = "mistral";
  for (Case c : {sparse, dense}) {
    c.dropout = 0.4;
    Movable m(c);
    TrainBatch batch = MakeBatch(c);
    m.Loss(batch);
    // Along the gradient the loss changes by its squared length.
    std::vector<std::vector<float>> gradient, before;
    double squared = 0;
    for (const TrainedTensor& t : m.trained.tensors) {
      gradient.emplace_back(t.grad.begin(), t.grad.end());
      before.emplace_back(t.weight.begin(), t.weight.end());
      for (const float g : t.grad) squared += static_cast<double>(g) * g;
    }
    const auto loss_at = [&](double distance) {
      for (size_t i = 0; i < gradient.size(); ++i) {
        for (size_t j = 0; j < gradient[i].size(); ++j)
          m.trained.tensors[i].weight[j] =
              static_cast<float>(before[i][j] + distance * gradient[i][j]);
      }
      return m.Loss(batch);
    };
    const double step = 2e-3 / std::sqrt(squared);
    const double change = (loss_at(step) - loss_at(-step)) / (2 * step);
    EXPECT_NEAR(change / squared, 1, 2e-2);
    // Another seed leaves out other values; measuring leaves out none.
    const double here = loss_at(0), measured = m.learner->Evaluate(batch).objective.loss;
    batch.dropout_seed = 8;
    EXPECT_NE(m.Loss(batch), here);
    EXPECT_NE(measured, here);
    EXPECT_EQ(m.learner->Evaluate(batch).objective.loss, measured);
  }
}

TEST(TrainingStep, SequencesOfABatchDoNotSeeEachOther) {
  Case c;
  const auto model = SyntheticModel(c.config);
  ThreadPool pool(2);
  const KernelTable kernels = SelectKernels(Must(SelectIsaFromEnvironment()));
  Arena arena;
  Context context{pool, kernels, arena, Arithmetic::kFloat32};
  const Gradients none;
  Learner learner(*model, none, {}, context);
  const auto together = learner.CompletionLogProbs(MakeBatch(c));
  for (size_t s = 0; s < c.lengths.size(); ++s)
    EXPECT_EQ(learner.CompletionLogProbs(MakeBatch(c, s, 1))[0], together[s]);
}

TEST(TrainingStep, MicroBatchesAddUpToTheLargeBatch) {
  Case c;
  c.config.n_experts = 0;  // the balance loss of parts is not that of the whole
  c.config.n_experts_per_token = 0;
  const auto model = SyntheticModel(c.config);
  const TrainBatch all = MakeBatch(c);
  const auto normaliser = static_cast<double>(all.target_row.size());
  const Step whole = RunStep(*model, {all}, {});
  const Step parts =
      RunStep(*model, {MakeBatch(c, 0, 2), MakeBatch(c, 2, 1), MakeBatch(c, 3, 1)}, {}, normaliser);
  double difference = 0, norm = 0;
  for (size_t i = 0; i < whole.grads.size(); ++i) {
    difference += std::pow(static_cast<double>(whole.grads[i]) - parts.grads[i], 2);
    norm += std::pow(static_cast<double>(whole.grads[i]), 2);
  }
  // Sums of 230 terms in another order: a few roundings of 6e-8 relative to the terms, which are up
  // to √230 times the sum they nearly cancel to.
  EXPECT_LT(std::sqrt(difference / norm), 4 * 6e-8 * std::sqrt(normaliser));
}

}  // namespace
}  // namespace octet::testing
