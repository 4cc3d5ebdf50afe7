// A run that is stopped anywhere and resumed ends with the bits of an uninterrupted one.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>

#include "io/safetensors.h"
#include "support/model_runner.h"
#include "support/temp_folder.h"
#include "train/initial.h"
#include "train/trainer.h"

namespace octet::testing {
namespace {

namespace fs = std::filesystem;

constexpr double kHugeRouterRate = 100;  // times the others

Status Nothing(const UpdateReport&) { return {}; }

ModelConfig Config() {
  ModelConfig config = TinyMixtralConfig();
  config.n_layers = 2;
  config.d_model = 32;
  config.n_heads = 4;
  config.d_ff = 24;
  config.rope_pairing = RopePairing::kHalves;
  return config;
}

class ResumedRun : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const auto& [path, masked] : {std::pair{text_, false}, {pairs_, true}}) {
      TokenFileWriter writer(Config().vocab_size, masked);
      for (uint64_t d = 0; d < 12; ++d) {
        const auto ids = RandomIds(10 + d * 3, Config().vocab_size, d);
        const std::vector<float> learned(masked ? ids.size() : 0, 1.0f);
        writer.Add(ids, learned);
      }
      ASSERT_TRUE(writer.Write(path, 1));
    }
  }

  std::unique_ptr<Trainer> Make(const fs::path& folder, Objective objective, int threads = 2,
                                const std::atomic<bool>* stop = nullptr,
                                Recompute recompute = Recompute::kNone) {
    const bool pairs = objective != Objective::kTokens;
    std::vector<Source> sources;
    sources.push_back({"a", 1, pairs ? DocumentKind::kPreferences : DocumentKind::kText,
                       Must(TokenFile::Open(pairs ? pairs_ : text_)), pairs ? 10 : 11});
    Mixture mixture = Must(Mixture::Create(std::move(sources), {5, Config().vocab_size, 32, 96}));
    TrainerOptions options;
    options.learner.objective.kind = objective;
    options.learner.router = {.balance = 0.01, .z = 0.001};
    options.learner.recompute = recompute;
    options.learner.capacity_factor = capacity_factor_;
    options.learner.dropout = dropout_;
    options.dropout_seed = 5;
    options.optimizer.muon = muon_;
    options.schedule = {.peak = 3e-3, .steps = 9, .warmup_steps = 2};
    options.accumulate = 2;
    options.average_decay = average_decay_;
    options.reference_model = model_;
    options.on_reference = on_reference_;
    options.save_every = 2;
    options.held_out_every = 3;
    options.keep = 2;
    options.folder = folder;
    options.companions = {{"config.json", "{}"}};
    options.identity = {{"seed", "5"}};
    options.stop = stop;
    ThreadPool pool(1);
    return Must(Trainer::Create(
        Must(TrainWeights(Config(), Must(InitialWeights(Config(), 3, pool)))), std::move(mixture),
        std::move(options), threads, SelectKernels(Must(SelectIsaFromEnvironment()))));
  }
  static std::vector<float> WeightsOf(const Trainer& trainer) {
    std::vector<float> all;
    for (const TrainedTensor& tensor : trainer.trained().tensors)
      all.insert(all.end(), tensor.weight.begin(), tensor.weight.end());
    return all;
  }
  /// From the first update to the last.
  std::vector<float> Uninterrupted(Objective objective, int threads = 2,
                                   Recompute recompute = Recompute::kNone) {
    TempFolder folder;
    const auto trainer = Make(folder.path(), objective, threads, nullptr, recompute);
    EXPECT_TRUE(trainer->PrepareReference());
    const Status done = trainer->Run(Nothing);
    EXPECT_TRUE(done) << (done ? "" : done.error().message);
    return WeightsOf(*trainer);
  }

  bool muon_ = false;
  double capacity_factor_ = 0, dropout_ = 0, average_decay_ = 0.9;
  uint64_t model_ = 1;
  std::function<void(int64_t, int64_t)> on_reference_;
  TempFolder data_;
  fs::path text_ = data_.path() / "text.tokens", pairs_ = data_.path() / "pairs.tokens";
};

TEST_F(ResumedRun, EndsWithTheBitsOfAnUninterruptedOne) {
  for (const Objective objective : {Objective::kTokens, Objective::kDpo, Objective::kTokens}) {
    const std::vector<float> want = Uninterrupted(objective);
    for (const int64_t stop_at : {1, 3, 8}) {
      TempFolder folder;
      std::atomic<bool> stop = false;
      {
        const auto trainer = Make(folder.path(), objective, 2, &stop);
        ASSERT_TRUE(trainer->PrepareReference());
        const Status cut = trainer->Run([&](const UpdateReport& u) {
          stop = u.step == stop_at;
          return Status();
        });
        ASSERT_FALSE(cut);
        EXPECT_EQ(cut.error().code, ErrorCode::kCancelled);
      }
      const auto trainer = Make(folder.path(), objective, 1);
      ASSERT_TRUE(trainer->PrepareReference());
      ASSERT_TRUE(trainer->Resume());
      EXPECT_EQ(trainer->step(), stop_at);
      ASSERT_TRUE(trainer->Run(Nothing));
      EXPECT_EQ(want, WeightsOf(*trainer)) << "stopped after " << stop_at;
    }
    muon_ = objective == Objective::kDpo;  // the last time
    capacity_factor_ = muon_ ? 0.9 : 0;
    dropout_ = muon_ ? 0.1 : 0;
  }
}

TEST_F(ResumedRun, ACheckpointCutShortIsNotTaken) {
  const std::vector<float> want = Uninterrupted(Objective::kTokens);
  TempFolder folder;
  std::atomic<bool> stop = false;
  {
    const auto trainer = Make(folder.path(), Objective::kTokens, 2, &stop);
    ASSERT_FALSE(trainer->Run([&](const UpdateReport& u) {
      stop = u.step == 5;
      return Status();
    }));
  }
  // As if it had been killed while it wrote: the newest without its last file, and one half made.
  ASSERT_EQ(NewestRun(folder.path()).filename(), "step-00000005");
  fs::remove(folder.path() / "step-00000005/training.json");
  fs::create_directories(folder.path() / ".unfinished-step-00000006");
  std::ofstream(folder.path() / ".unfinished-step-00000006/model.safetensors") << "half";
  ASSERT_EQ(NewestRun(folder.path()).filename(), "step-00000004");
  const auto trainer = Make(folder.path(), Objective::kTokens);
  ASSERT_TRUE(trainer->Resume());
  EXPECT_EQ(trainer->step(), 4);
  ASSERT_TRUE(trainer->Run(Nothing));
  EXPECT_EQ(want, WeightsOf(*trainer));
  // The last two are kept.
  int kept = 0;
  for (const auto& entry : fs::directory_iterator(folder.path()))
    kept += entry.path().filename().string().starts_with("step-") ? 1 : 0;
  EXPECT_LE(kept, 3);
}

TEST_F(ResumedRun, AsksTheReferenceModelOnce) {
  TempFolder folder;
  const auto documents_asked = [&](uint64_t model) {
    int64_t asked = 0;
    model_ = model;
    on_reference_ = [&](int64_t done, int64_t) { asked = done; };
    EXPECT_TRUE(Make(folder.path(), Objective::kDpo)->PrepareReference());
    return asked;
  };
  EXPECT_EQ(documents_asked(1), 12);
  EXPECT_EQ(documents_asked(1), 0) << "killed before the first checkpoint";
  EXPECT_EQ(documents_asked(2), 12) << "another model";
  const auto trainer = Make(folder.path(), Objective::kDpo);
  ASSERT_TRUE(trainer->PrepareReference());
  ASSERT_TRUE(trainer->Run(Nothing));
  EXPECT_EQ(documents_asked(3), 0) << "a run that has begun keeps its reference";
  // Damage is noticed.
  const fs::path file = folder.path() / "data/a.reference";
  fs::resize_file(file, fs::file_size(file) - 8);
  EXPECT_EQ(documents_asked(3), 12);
}

TEST_F(ResumedRun, AnErrorOfWhoIsToldEndsTheRunAfterSaving) {
  TempFolder folder;
  const auto trainer = Make(folder.path(), Objective::kTokens);
  const Status ended = trainer->Run([](const UpdateReport& u) -> Status {
    if (u.step == 5) return Err(ErrorCode::kIo, "metrics cannot be written");
    return {};
  });
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, ErrorCode::kIo);
  EXPECT_EQ(NewestRun(folder.path()).filename(), "step-00000005");
}

TEST_F(ResumedRun, TheAverageOfWeightsIsAModelOfItsOwn) {
  TempFolder folder;
  ASSERT_TRUE(Make(folder.path(), Objective::kTokens)->Run(Nothing));
  MappedTensors weights, average;
  const fs::path newest = NewestRun(folder.path());
  ASSERT_TRUE(AddSafetensors(weights, newest / "model.safetensors", OpenMode::kFull));
  ASSERT_TRUE(AddSafetensors(average, newest / "average/model.safetensors", OpenMode::kFull));
  EXPECT_TRUE(fs::exists(newest / "average/config.json"));
  ASSERT_EQ(average.tensors().size(), weights.tensors().size());
  const TensorInfo& info = weights.tensors().front();
  const auto now = Must(weights.Data(info)), mean = Must(average.Data(*average.Find(info.name)));
  EXPECT_FALSE(std::equal(now.begin(), now.end(), mean.begin(), mean.end()));

  // One begun without an average gets it from where it is resumed.
  TempFolder other;
  std::atomic<bool> stop = true;
  average_decay_ = 0;
  ASSERT_FALSE(Make(other.path(), Objective::kTokens, 1, &stop)->Run(Nothing));
  EXPECT_FALSE(fs::exists(NewestRun(other.path()) / "average"));
  average_decay_ = 0.5;
  const auto trainer = Make(other.path(), Objective::kTokens);
  const Status resumed = trainer->Resume();
  ASSERT_TRUE(resumed) << resumed.error().message;
  ASSERT_TRUE(trainer->Run(Nothing));
  EXPECT_TRUE(fs::exists(NewestRun(other.path()) / "average/model.safetensors"));
}

TEST_F(ResumedRun, ThreadsAndRecomputationDoNotChangeARun) {
  const std::vector<float> want = Uninterrupted(Objective::kTokens, 1);
  EXPECT_EQ(want, Uninterrupted(Objective::kTokens, 3));
  EXPECT_EQ(want, Uninterrupted(Objective::kTokens, 2, Recompute::kLayers));
}

TEST_F(ResumedRun, AnotherRunsCheckpointIsRefused) {
  TempFolder folder;
  std::atomic<bool> stop = true;
  ASSERT_FALSE(Make(folder.path(), Objective::kTokens, 1, &stop)->Run(Nothing));
  RunState state;
  state.step = 1;
  std::string text;
  {
    std::ifstream file(NewestRun(folder.path()) / "training.json");
    text.assign(std::istreambuf_iterator<char>(file), {});
  }
  text.replace(text.find("\"seed\": \"5\""), 11, "\"seed\": \"6\"");
  std::ofstream(NewestRun(folder.path()) / "training.json") << text;
  const Status refused = Make(folder.path(), Objective::kTokens, 1)->Resume();
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("begun with seed 6, now it is 5"), std::string::npos)
      << refused.error().message;
}

/// Runs of 50 updates under the guard.
class GuardedRun : public ResumedRun {
 protected:
  /// A little language of few words, some far more common than others: what text has and random
  /// tokens have not, a common part of all hidden states that a router can fall for.
  void SetUp() override {
    ResumedRun::SetUp();
    TokenFileWriter writer(Config().vocab_size, false);
    for (uint64_t d = 0; d < 12; ++d) {
      auto ids = RandomIds(60, 1000, d);
      for (int32_t& id : ids) id = 3 + id * id / 25'000;  // 40 words, the first 16 % of all
      writer.Add(ids);
    }
    ASSERT_TRUE(writer.Write(language_, 1));
  }
  struct Setup {
    uint64_t seed = 1;
    double router_rate = 1;
    GuardAction action = GuardAction::kWarn;
    int64_t save_every = 0;
  };
  std::unique_ptr<Trainer> MakeGuarded(const fs::path& folder, const Setup& setup) {
    std::vector<Source> sources;
    sources.push_back({"a", 1, DocumentKind::kText, Must(TokenFile::Open(language_)), 12});
    Mixture mixture =
        Must(Mixture::Create(std::move(sources), {setup.seed, Config().vocab_size, 32, 96}));
    ModelConfig config = Config();
    config.n_experts = 8;  // of which a collapse to two shows
    TrainerOptions options;
    options.learner.router = {.balance = 0.01, .z = 0.001};
    options.schedule = {.peak = 3e-3, .steps = 50, .warmup_steps = 5};
    options.optimizer.adamw.router_rate = setup.router_rate;
    options.guard = setup.action;
    options.save_every = setup.save_every;
    options.folder = folder;
    ThreadPool pool(1);
    return Must(
        Trainer::Create(Must(TrainWeights(config, Must(InitialWeights(config, setup.seed, pool)))),
                        std::move(mixture), std::move(options), 1, SelectKernels(DetectIsa())));
  }
  fs::path language_ = data_.path() / "language.tokens";

  /// Updates with a warning.
  int Warnings(const Setup& setup) {
    TempFolder folder;
    int count = 0;
    EXPECT_TRUE(MakeGuarded(folder.path(), setup)->Run([&](const UpdateReport& u) {
      count += u.warning.empty() ? 0 : 1;
      return Status();
    }));
    return count;
  }
};

TEST_F(GuardedRun, FiveHealthySeedsRaiseNoGuard) {
  for (uint64_t seed = 1; seed <= 5; ++seed) EXPECT_EQ(Warnings({seed}), 0) << "seed " << seed;
}

TEST_F(GuardedRun, ACollapseIsSeenWithinFiftyUpdates) {
  for (uint64_t seed = 1; seed <= 5; ++seed)
    EXPECT_GT(Warnings({seed, kHugeRouterRate}), 0) << "seed " << seed;
}

TEST_F(GuardedRun, RollsBackToBeforeWithOtherDataAndHalfTheRate) {
  const Setup setup = {1, kHugeRouterRate, GuardAction::kRollBack, 2};
  TempFolder folder;
  std::vector<UpdateReport> reports;
  const auto trainer = MakeGuarded(folder.path(), setup);
  // It may help, or be given up after some times; either way it went back.
  const Status ended = trainer->Run([&](const UpdateReport& u) {
    reports.push_back(u);
    return Status();
  });
  size_t back = 0;
  while (back < reports.size() && reports[back].warning.empty()) ++back;
  ASSERT_LT(back + 1, reports.size());
  EXPECT_NE(reports[back].warning.find("going back to update"), std::string::npos);
  const UpdateReport &before = reports[back], &after = reports[back + 1];
  EXPECT_LE(after.step, before.step);
  const auto same = std::find_if(reports.begin(), reports.end(),
                                 [&](const UpdateReport& u) { return u.step == after.step; });
  EXPECT_DOUBLE_EQ(after.rate, 0.5 * same->rate);
  EXPECT_NE(after.loss, same->loss) << "other data";

  EXPECT_EQ(ended.has_value(), trainer->step() == 50);
}

TEST_F(ResumedRun, LearnsAndReportsHeldOutLosses) {
  TempFolder folder;
  const auto trainer = Make(folder.path(), Objective::kTokens);
  std::vector<UpdateReport> reports;
  ASSERT_TRUE(trainer->Run([&](const UpdateReport& u) {
    reports.push_back(u);
    return Status();
  }));
  ASSERT_EQ(reports.size(), 9u);
  EXPECT_LT(reports.back().loss, reports.front().loss);
  for (const UpdateReport& u : reports) EXPECT_EQ(u.held_out.size(), u.step % 3 == 0 ? 1u : 0u);
  // Random tokens: about log of the vocabulary, before and after.
  EXPECT_NEAR(reports[2].held_out[0].loss, std::log(101.0), 0.5);
}

}  // namespace
}  // namespace octet::testing
