// Requests with an adapter of their own: the bits they have alone, in a model with no other.
#include <utility>

#include "engine/engine_testing.h"
#include "engine/lookup_drafter.h"
#include "model/adapter_set.h"
#include "support/adapter_folder.h"
#include "support/temp_folder.h"

namespace octet {
namespace {

using testing::EngineTest;

constexpr int32_t kAdapters = 3;

std::unique_ptr<Model> MakeModel(Format format) {
  ModelConfig config = testing::TinyModel()->config();
  config.d_model = 64;  // whole blocks of every format of 32 values
  config.d_ff = 96;
  config.head_dim = 16;
  auto checkpoint = MakeSyntheticCheckpoint(config, {format, 5});
  EXPECT_TRUE(checkpoint) << checkpoint.error().message;
  return *Model::Load(*std::move(checkpoint));
}

/// They differ in rank, scale, and in what they stand beside.
Adapters MakeAdapter(int32_t id, const ModelConfig& config) {
  const std::vector<std::string> targets[] = {
      {"q_proj", "k_proj", "v_proj", "o_proj", "gate", "w1", "w2", "w3"},
      {"q_proj", "v_proj"},
      {"w1", "w2", "w3"}};
  const auto at = static_cast<size_t>(id) - 1;
  return testing::RandomAdapter(config, static_cast<uint64_t>(id),
                                {3 + id, 4.0 + 2 * id, targets[at]});
}

/// Tokens and the bits of their log-probabilities.
struct Said {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
  int64_t cached_tokens = 0;
  bool operator==(const Said& other) const {
    return ids == other.ids && logprobs == other.logprobs;
  }
};

class AdapterRequests : public EngineTest, public ::testing::WithParamInterface<Format> {
 protected:
  void SetUp() override {
    model_ = MakeModel(GetParam());
    for (int32_t id = 1; id <= kAdapters; ++id)
      ASSERT_TRUE(set_.Add("a" + std::to_string(id), MakeAdapter(id, model_->config())));
    set_.AttachTo(model_->mutable_weights());
  }
  static std::unique_ptr<Engine> MakeFast(const Model& model, EngineOptions options) {
    static const testing::LetterTokenizer tokenizer;
    options.threads = 2;
    auto engine = Engine::Create(model, tokenizer, options);
    EXPECT_TRUE(engine) << engine.error().message;
    return *std::move(engine);
  }
  std::unique_ptr<Engine> MakeWith(EngineOptions options) const {
    options.adapters = &set_;
    return MakeFast(*model_, options);
  }
  static Request Ask(int i, int32_t adapter, int64_t prompt_tokens = 13) {
    Request request = MakeRequest(i, prompt_tokens, 12);
    request.adapter = adapter;
    request.top_logprobs = 0;
    return request;
  }
  static std::map<uint64_t, Said> Listen(Engine& engine) {
    std::map<uint64_t, Said> said;
    while (engine.busy()) {
      for (const Event& event : engine.Step()) {
        Said& s = said[event.request];
        s.ids.push_back(event.token);
        s.logprobs.push_back(event.logprob);
        s.cached_tokens = event.cached_tokens;
      }
    }
    return said;
  }
  static Said Alone(Engine& engine, Request request) {
    const uint64_t id = *engine.Submit(std::move(request));
    return Listen(engine)[id];
  }
  /// What a model says that was loaded with this adapter and no other.
  std::vector<Said> OfItsOwnModel(int n, int64_t prompt_tokens = 13) {
    std::vector<Said> said(static_cast<size_t>(n));
    for (int32_t id = 0; id <= kAdapters; ++id) {
      const auto model = MakeModel(GetParam());
      std::optional<Adapters> adapter;
      if (id > 0) adapter.emplace(MakeAdapter(id, model->config()));
      if (adapter) adapter->AttachTo(model->mutable_weights());
      const auto engine = MakeFast(*model, {});
      for (int i = id; i < n; i += kAdapters + 1)
        said[static_cast<size_t>(i)] = Alone(*engine, Ask(i, 0, prompt_tokens));
    }
    return said;
  }
  /// Request i has adapter i modulo their number, as OfItsOwnModel.
  static void ExpectSame(Engine& engine, const std::vector<Said>& expected,
                         int64_t prompt_tokens = 13) {
    std::vector<uint64_t> ids;
    for (size_t i = 0; i < expected.size(); ++i) {
      const auto n = static_cast<int>(i);
      ids.push_back(*engine.Submit(Ask(n, n % (kAdapters + 1), prompt_tokens)));
    }
    auto said = Listen(engine);
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(said[ids[i]], expected[i]) << i;
  }
  /// The same question with adapter `id`.
  Said Again(Engine& engine, int32_t id) { return Alone(engine, Ask(1, id)); }

  AdapterSet set_;
};

TEST_P(AdapterRequests, HaveTheBitsOfAModelWithThatOneAlone) {
  const auto expected = OfItsOwnModel(12);
  // They do say different things.
  const auto engine = MakeWith({});
  std::vector<Said> different;
  for (int32_t id = 0; id <= kAdapters; ++id) different.push_back(Again(*engine, id));
  for (size_t i = 0; i < different.size(); ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_FALSE(different[i] == different[j]) << i << " and " << j;
  }
  ExpectSame(*engine, expected);
  EngineOptions many;
  many.max_sequences = 7;
  many.max_batch_tokens = 16;
  ExpectSame(*MakeWith(many), expected);
  many.page_tokens = 4;
  many.kv_pages = 15;  // not enough: some are sent back
  many.max_context = 40;
  many.keep_prefixes = true;
  const auto scarce = MakeWith(many);
  ExpectSame(*scarce, expected);
  EXPECT_GT(scarce->stats().preemptions, 0);
}

TEST_P(AdapterRequests, AreTheSameWithGuesses) {
  const auto expected = OfItsOwnModel(8);
  EngineOptions options;
  options.max_sequences = 8;
  options.speculation.drafter = std::make_shared<LookupDrafter>(8, 256);
  options.speculation.always = true;
  ExpectSame(*MakeWith(options), expected);
}

TEST_P(AdapterRequests, ShareBeginningsWithTheirOwnAlone) {
  EngineOptions options;
  options.page_tokens = 4;
  const auto cold = MakeWith(options);
  options.keep_prefixes = true;
  const auto warm = MakeWith(options);
  for (int32_t id = 0; id <= kAdapters; ++id) {
    const Said expected = Again(*cold, id), first = Again(*warm, id), second = Again(*warm, id);
    EXPECT_EQ(first.cached_tokens, 0) << id;
    EXPECT_EQ(second.cached_tokens, 12) << id;
    EXPECT_EQ(first, expected) << id;
    EXPECT_EQ(second, expected) << id;
  }
}

TEST_P(AdapterRequests, FindTheirSavedBeginningsWhateverTheirNumber) {
  EngineOptions options;
  options.page_tokens = 4;
  options.keep_prefixes = true;
  const auto first = MakeWith(options);
  std::vector<Said> expected;
  for (int32_t id = 0; id <= kAdapters; ++id) expected.push_back(Again(*first, id));
  testing::TempFolder folder;
  ASSERT_TRUE(first->SavePrefixes(folder / "prefixes"));

  const auto model = MakeModel(GetParam());
  AdapterSet other;  // 3 as 1, then 1 as 2; no 2
  ASSERT_TRUE(other.Add("third", MakeAdapter(3, model->config())));
  ASSERT_TRUE(other.Add("first", MakeAdapter(1, model->config())));
  other.AttachTo(model->mutable_weights());
  options.adapters = &other;
  const auto second = MakeFast(*model, options);
  const auto loaded = second->LoadPrefixes(folder / "prefixes");
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(*loaded, first->stats().prefix_pages / 4 * 3);
  const std::pair<int32_t, size_t> same[] = {{0, 0}, {1, 3}, {2, 1}};
  for (const auto& [id, before] : same) {
    const Said again = Again(*second, id);
    EXPECT_EQ(again.cached_tokens, 12) << id;
    EXPECT_EQ(again, expected[before]) << id;
  }
}

TEST_P(AdapterRequests, StandBesideOneThatIsForAll) {
  Adapters for_all = MakeAdapter(2, model_->config());
  for_all.AttachTo(model_->mutable_weights());
  const auto both = MakeWith({});
  const auto model = MakeModel(GetParam());
  Adapters alone = MakeAdapter(2, model->config());
  alone.AttachTo(model->mutable_weights());
  EXPECT_EQ(Again(*both, 0), Again(*MakeFast(*model, {}), 0));
  EXPECT_FALSE(Again(*both, 1) == Again(*both, 0));
}

TEST_P(AdapterRequests, HaveVectorsOfTheirOwn) {
  const auto engine = MakeWith({});
  const std::vector<int32_t> ids = {1, 5, 9, 4, 12};
  const auto model = MakeModel(GetParam());
  Adapters alone = MakeAdapter(1, model->config());
  alone.AttachTo(model->mutable_weights());
  EXPECT_EQ(engine->MeanHidden(ids, 1).value(), MakeFast(*model, {})->MeanHidden(ids).value());
  EXPECT_NE(engine->MeanHidden(ids, 1).value(), engine->MeanHidden(ids).value());
  EXPECT_FALSE(engine->MeanHidden(ids, kAdapters + 1));
}

TEST_P(AdapterRequests, AreRefusedWhereThereIsNoSuchAdapter) {
  const auto engine = MakeWith({});
  for (const int32_t id : {-1, kAdapters + 1}) EXPECT_FALSE(engine->Submit(Ask(0, id))) << id;
  Request in_session = Ask(0, 1);
  in_session.session = engine->OpenSession();
  EXPECT_FALSE(engine->Submit(std::move(in_session)));
  EXPECT_FALSE(MakeFast(*model_, {})->Submit(Ask(0, 1))) << "an engine that was told of none";
  EXPECT_FALSE(set_.Add("a1", MakeAdapter(1, model_->config())));
}

INSTANTIATE_TEST_SUITE_P(Formats, AdapterRequests,
                         ::testing::Values(Format::kF32, Format::kBf16, Format::kQ8_0,
                                           Format::kQ4_0),
                         [](const auto& info) { return std::string(Info(info.param).name); });

}  // namespace
}  // namespace octet
