// Traces of where tokens went, and the counts of all of them.
#include "engine/routing.h"

#include <numeric>

#include "engine/engine_testing.h"

namespace octet {
namespace {

using testing::EngineTest;

class Routing : public EngineTest {
 protected:
  /// By position, of every traced request.
  using Trace = std::map<int32_t, TokenRouting>;
  static std::map<uint64_t, Trace> RunTraced(Engine& engine) {
    std::map<uint64_t, Trace> traces;
    while (engine.busy()) {
      for (const Event& event : engine.Step()) {
        for (const TokenRouting& row : event.routing) {
          EXPECT_TRUE(traces[event.request].emplace(row.position, row).second) << row.position;
        }
      }
    }
    return traces;
  }
  static uint64_t Submit(Engine& engine, Request request, RoutingTrace trace) {
    request.trace = trace;
    const auto id = engine.Submit(std::move(request));
    EXPECT_TRUE(id);
    return *id;
  }
};

TEST_F(Routing, TracesEveryPositionButTheLastTokens) {
  const ModelConfig& config = model_->config();
  auto engine = Make();
  const uint64_t id = Submit(*engine, MakeRequest(0, 10, 5), RoutingTrace::kPrompt);
  const Trace trace = RunTraced(*engine)[id];
  ASSERT_EQ(trace.size(), 10u + 5u - 1u);
  EXPECT_EQ(trace.begin()->first, 0);
  for (const auto& [position, row] : trace) {
    const auto k = static_cast<size_t>(config.n_experts_per_token);
    ASSERT_EQ(row.experts.size(), static_cast<size_t>(config.n_layers) * k);
    for (size_t at = 0; at < row.weights.size(); at += k) {
      const auto first = row.weights.begin() + static_cast<std::ptrdiff_t>(at);
      EXPECT_NEAR(std::accumulate(first, first + static_cast<std::ptrdiff_t>(k), 0.0), 1, 1e-6);
      EXPECT_NE(row.experts[at], row.experts[at + 1]);
    }
  }
}

TEST_F(Routing, IsTheSameAmongOthersAndInChunks) {
  auto alone = Make();
  const uint64_t a = Submit(*alone, MakeRequest(1, 40, 8), RoutingTrace::kPrompt);
  const Trace expected = RunTraced(*alone)[a];

  EngineOptions options;
  options.max_sequences = 4;
  options.max_batch_tokens = 16;
  options.keep_prefixes = true;
  auto busy = Make(options);
  for (int i = 0; i < 3; ++i) Submit(*busy, MakeRequest(1, 40, 8), RoutingTrace::kNone);
  const uint64_t b = Submit(*busy, MakeRequest(1, 40, 8), RoutingTrace::kPrompt);
  const Trace trace = RunTraced(*busy)[b];
  ASSERT_EQ(trace.size(), expected.size());
  for (const auto& [position, row] : expected) {
    EXPECT_EQ(trace.at(position).experts, row.experts) << position;
    EXPECT_EQ(trace.at(position).weights, row.weights) << position;
  }
}

TEST_F(Routing, OfTheAnswerBeginsWithTheRowThatChoseItsFirstToken) {
  auto engine = Make();
  const uint64_t id = Submit(*engine, MakeRequest(0, 10, 3), RoutingTrace::kAnswer);
  const Trace trace = RunTraced(*engine)[id];
  ASSERT_EQ(trace.size(), 3u);
  EXPECT_EQ(trace.begin()->first, 9);
}

TEST_F(Routing, CountsTheRowsThatEachLayerComputes) {
  const ModelConfig& config = model_->config();
  auto engine = Make();
  Submit(*engine, MakeRequest(0, 10, 5), RoutingTrace::kNone);
  while (engine->busy()) engine->Step();
  const std::vector<int64_t> load = engine->ExpertLoad();
  ASSERT_EQ(load.size(), static_cast<size_t>(config.n_layers) * config.n_experts);
  const int64_t rows = 10 + 5 - 1;
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    const auto first = load.begin() + layer * config.n_experts;
    // Of the last one's output nobody needs more than the rows that choose a token.
    const int64_t computed = layer + 1 < config.n_layers ? rows : 5;
    EXPECT_EQ(std::accumulate(first, first + config.n_experts, int64_t{0}),
              computed * config.n_experts_per_token);
  }
}

TEST_F(Routing, SharesTheBytesOfAStepAmongItsRows) {
  const auto bytes_alone = [&](int n) {
    EngineOptions options;
    options.max_sequences = 8;
    auto engine = Make(options);
    for (int i = 0; i < n; ++i) Submit(*engine, MakeRequest(i, 4, 6), RoutingTrace::kNone);
    double last = 0;
    while (engine->busy()) {
      for (const Event& event : engine->Step()) last = event.weight_bytes;
    }
    return last;
  };
  const double one = bytes_alone(1), eight = bytes_alone(8);
  EXPECT_GT(one, 0);
  EXPECT_LE(one, static_cast<double>(model_->weight_bytes()));
  EXPECT_LT(eight, one / 2);  // all read the attention once, and share experts
}

ExpertControls Controls(int i, const ModelConfig& config) {
  ExpertControls controls;
  if (i % 4 != 0) controls.top_k = 1 + i % static_cast<int32_t>(config.n_experts);
  if (i % 3 == 1) controls.without.assign(static_cast<size_t>(config.n_layers), 1u << (i % 4));
  return controls;
}

TEST_F(Routing, UnderControlsIsTheSameAloneAndAmongOtherControls) {
  constexpr int kRequests = 12;
  const auto request = [&](int i) {
    Request r = MakeRequest(i, 20, 15);
    r.experts = Controls(i, model_->config());
    return r;
  };
  std::vector<std::vector<int32_t>> alone;
  {
    auto engine = Make();
    for (int i = 0; i < kRequests; ++i) alone.push_back(Run(*engine, request(i)).ids);
  }
  EngineOptions options;
  options.max_sequences = 5;
  options.max_batch_tokens = 24;
  options.page_tokens = 8;
  options.keep_prefixes = true;
  auto engine = Make(options);
  std::vector<uint64_t> ids;
  for (int i = 0; i < kRequests; ++i) {
    const auto id = engine->Submit(request(i));
    ASSERT_TRUE(id) << id.error().message;
    ids.push_back(*id);
  }
  auto answers = RunAll(*engine);
  for (size_t i = 0; i < kRequests; ++i) EXPECT_EQ(answers[ids[i]].ids, alone[i]) << i;
}

TEST_F(Routing, UnderControlsNeitherTakesNorLeavesPrefixes) {
  EngineOptions options;
  options.page_tokens = 8;
  options.keep_prefixes = true;
  auto engine = Make(options);
  const auto plain = Run(*engine, MakeRequest(1, 40, 10));
  Request one = MakeRequest(1, 40, 10);
  one.experts.top_k = 1;
  const auto first = Run(*engine, one);
  EXPECT_EQ(first.cached_tokens, 0);
  EXPECT_EQ(Run(*engine, one).ids, first.ids);
  EXPECT_NE(first.ids, plain.ids);
  EXPECT_EQ(Run(*engine, MakeRequest(1, 40, 10)).ids, plain.ids);
}

TEST_F(Routing, KeepsToItsControls) {
  const ModelConfig& config = model_->config();
  auto engine = Make();
  Request request = MakeRequest(0, 10, 5);
  request.experts.top_k = 3;
  request.experts.without.assign(static_cast<size_t>(config.n_layers), 0b11);
  const int32_t expected = std::min<int32_t>(3, static_cast<int32_t>(config.n_experts) - 2);
  const uint64_t id = Submit(*engine, request, RoutingTrace::kPrompt);
  const Trace trace = RunTraced(*engine)[id];
  for (const auto& [position, row] : trace) {
    EXPECT_EQ(row.experts_per_layer, expected);
    for (const int32_t expert : row.experts) EXPECT_GE(expert, 2);
  }
}

TEST_F(Routing, OfTheModelsOwnKChangesNothing) {
  auto engine = Make();
  Request request = MakeRequest(1, 10, 20);
  const auto plain = Run(*engine, request);
  request.experts.top_k = static_cast<int32_t>(model_->config().n_experts_per_token);
  EXPECT_EQ(Run(*engine, request).ids, plain.ids);
}

TEST_F(Routing, RefusesControlsThatLeaveNoExpert) {
  const ModelConfig& config = model_->config();
  auto engine = Make();
  Request request = MakeRequest(0);
  request.experts.top_k = static_cast<int32_t>(config.n_experts) + 1;
  EXPECT_FALSE(engine->Submit(request));
  request.experts.top_k = 0;
  request.experts.without.assign(static_cast<size_t>(config.n_layers), ~uint64_t{0});
  EXPECT_FALSE(engine->Submit(request));
  request.experts.without.assign(1, 1);
  EXPECT_FALSE(engine->Submit(request));
}

}  // namespace
}  // namespace octet
