#include "perf/measure.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "cpu/isa.h"
#include "model/synthetic.h"
#include "perf/presets.h"

namespace octet {
namespace {

std::unique_ptr<Model> TinyMoe() {
  return *Model::Load(*MakeSyntheticCheckpoint(*PresetConfig("tiny-moe", 0), {}));
}

struct Machine {
  ThreadPool pool{2};
  KernelTable kernels = SelectKernels(DetectIsa());
  Arena arena;
  Context context{pool, kernels, arena, Arithmetic::kFloat32};
};

TEST(StepBench, CountsWhatAStepTouches) {
  const auto model = TinyMoe();
  const ModelConfig& config = model->config();
  Machine machine;
  auto bench =
      StepBench::Create(*model, {{1, 1, 0}, {1, 1, 640}, {16, 1, 0}, {1, 64, 0}}, Format::kF16);
  ASSERT_TRUE(bench) << bench.error().message;
  const StepCost one = bench->Cost(0, machine.context), deep = bench->Cost(1, machine.context);
  const StepCost many = bench->Cost(2, machine.context), prompt = bench->Cost(3, machine.context);

  EXPECT_EQ(one.experts_touched, config.n_experts_per_token * config.n_layers);
  EXPECT_DOUBLE_EQ(one.rows_per_matrix, 1);
  const int64_t expert_bytes = 3 * config.d_model * config.d_ff * 4;
  const int64_t beside = one.weight_bytes - one.experts_touched * expert_bytes;
  EXPECT_EQ(many.weight_bytes, beside + many.experts_touched * expert_bytes);
  EXPECT_GT(many.experts_touched, one.experts_touched);
  EXPECT_EQ(deep.weight_bytes, one.weight_bytes);
  EXPECT_EQ(deep.kv_bytes, 641 * KvCache::BytesPerToken(config, Format::kF16));
  EXPECT_EQ(one.int8_flops, 0);  // F32 weights
  // 64 rows through everything but the head, which one row needs, and what its layer does with it.
  const double head = 2.0 * static_cast<double>(config.d_model * config.vocab_size);
  const double keys_values = 2.0 * 2.0 * static_cast<double>(config.d_model * config.kv_dim());
  const double layer = (one.flops - head) / static_cast<double>(config.n_layers);
  const double expected = head + 64 * static_cast<double>(config.n_layers - 1) * layer +
                          64 * keys_values + (layer - keys_values);
  EXPECT_NEAR(prompt.flops / expected, 1, 0.03);  // attention: more keys

  bench->TakeLastLayerWhole();
  const StepCost whole = bench->Cost(3, machine.context);
  EXPECT_NEAR((whole.flops - head) / (one.flops - head), 64, 2);
  EXPECT_EQ(bench->Cost(0, machine.context).flops, one.flops);
}

TEST(StepBench, SharesKeysAndValuesBetweenShapes) {
  const ModelConfig config = *PresetConfig("tiny-moe", 0);
  const int64_t token = KvCache::BytesPerToken(config, Format::kF16);
  EXPECT_EQ(StepBench::KvBytes(config, {{1, 1, 1000}, {1, 512, 0}}, Format::kF16), 1024 * token);
  EXPECT_EQ(StepBench::KvBytes(config, {{1, 1, 1000}, {3, 1, 0}}, Format::kF16),
            (1024 + 2 * 64) * token);
}

TEST(StepBench, DecodesTexts) {
  const auto model = TinyMoe();
  const ModelConfig& config = model->config();
  Machine machine;
  const StepShape text{.batch = 3, .depth = 5, .text_tokens = 70};
  EXPECT_DOUBLE_EQ(text.mean_depth(), 5 + 69 / 2.0);
  EXPECT_EQ(StepBench::KvBytes(config, {text}, Format::kF16),
            3 * 128 * KvCache::BytesPerToken(config, Format::kF16));
  auto bench = StepBench::Create(*model, {text}, Format::kF16);
  ASSERT_TRUE(bench) << bench.error().message;
  const StepCost cost = bench->Cost(0, machine.context);  // eight steps
  EXPECT_DOUBLE_EQ(cost.kv_bytes,
                   3 * (text.mean_depth() + 1) *
                       static_cast<double>(KvCache::BytesPerToken(config, Format::kF16)));
  EXPECT_GE(cost.experts_touched, config.n_experts_per_token * config.n_layers);
  EXPECT_LE(cost.experts_touched, 3 * config.n_experts_per_token * config.n_layers);
  std::set<std::vector<int32_t>> tokens;
  for (int64_t step = 8; step < 2 * text.text_tokens; ++step) {
    const Batch batch = bench->NextBatch(0);
    for (const int32_t position : batch.position)
      ASSERT_EQ(position, text.depth + step % text.text_tokens);
    tokens.emplace(batch.token.begin(), batch.token.end());
    EXPECT_GT(bench->Step(0, machine.context), 0);
  }
  EXPECT_GT(tokens.size(), 100);  // each step has tokens of its own
}

TEST(LeastSeconds, IsWhateverTakesLonger) {
  const MachineRates rates{.read = 1e9, .fma_f32 = 1e10, .dot_int8 = 1e11, .amx_int8 = 8e11};
  StepCost cost;
  cost.weight_bytes = 9e8;
  cost.kv_bytes = 1e8;
  cost.rows_per_matrix = 1;
  EXPECT_DOUBLE_EQ(LeastSeconds(cost, rates), 1);
  cost.flops = cost.int8_flops = 3e11;
  EXPECT_DOUBLE_EQ(LeastSeconds(cost, rates), 3);  // by the dot product: a tile is 1/16 full
  cost.rows_per_matrix = 8;
  EXPECT_DOUBLE_EQ(LeastSeconds(cost, rates), 1);  // half a tile: 4e11 a second
  cost.int8_flops = 0;
  EXPECT_DOUBLE_EQ(LeastSeconds(cost, rates), 30);
}

/// How often each expert of each layer was chosen.
class Choices : public Observer {
 public:
  void OnRouting(int32_t layer, View<const int32_t, 2> experts, View<const float, 2>) override {
    for (int64_t t = 0; t < experts.shape[0]; ++t) {
      for (const int32_t expert : experts[t]) ++count[{layer, expert}];
    }
  }
  std::map<std::pair<int32_t, int32_t>, int> count;
};

TEST(Synthetic, RoutesToAllExpertsAboutEquallyOften) {
  const auto model = TinyMoe();
  const ModelConfig& config = model->config();
  Machine machine;
  // Every token is a text of its own: what decoding a batch from depth 0 is.
  constexpr int32_t kTokens = 512;
  KvCache kv = *KvCache::Create(config, {Format::kF32, 64, kTokens});
  std::vector<int32_t> token(kTokens), position(kTokens, 0), sequence(kTokens), rows = {0};
  for (int32_t t = 0; t < kTokens; ++t) {
    token[t] = t;
    sequence[t] = kv.AddSequence();
    ASSERT_TRUE(kv.Reserve(sequence[t], 1));
  }
  Choices choices;
  const Arena::Scope scope(machine.arena);
  Forward(*model, {token, position, sequence, rows}, kv, {&choices}, machine.context);
  // 128 choices of each expected; the routers are drawn once, so that experts differ by more than
  // chance, but none may be left out or taken by everyone.
  EXPECT_EQ(static_cast<int64_t>(choices.count.size()), config.n_layers * config.n_experts);
  for (const auto& [expert, n] : choices.count) {
    EXPECT_GT(n, 128 / 2) << "layer " << expert.first << " expert " << expert.second;
    EXPECT_LT(n, 128 * 2) << "layer " << expert.first << " expert " << expert.second;
  }
}

}  // namespace
}  // namespace octet
