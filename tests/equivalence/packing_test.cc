// Packed weights give the bits that weights in the file's order give.
#include <gtest/gtest.h>

#include "model/packing.h"
#include "support/model_runner.h"

namespace octet::testing {
namespace {

class PackedModel : public ::testing::TestWithParam<Format> {};

TEST_P(PackedModel, GivesTheBitsOfTheFilesOrder) {
  ModelConfig config = TinyMixtralConfig();
  config.d_model = 256;
  config.n_heads = 4;
  config.head_dim = 64;
  config.d_ff = 512;
  config.n_layers = 2;
  const RunnerOptions options{.kv_format = Format::kF16, .arithmetic = Arithmetic::kFast};
  const auto ids = RandomIds(40, config.vocab_size, 5);
  const auto plain = SyntheticModel(config, GetParam());
  const KernelTable kernels = SelectKernels(Must(SelectIsaFromEnvironment()));
  ThreadPool pool(2);
  int64_t last = 0, total = 0;
  LoadTarget target{&kernels};
  target.retile = &pool;
  target.on_retile = [&](int64_t done, int64_t all) { last = done, total = all; };
  Checkpoint checkpoint =
      Must(MakeSyntheticCheckpoint(config, {.matrices = GetParam(), .seed = 7}));
  const LoadBytes expected = PlanLoad(checkpoint, config, kernels);
  const auto packed = Must(Model::Load(std::move(checkpoint), target));
  EXPECT_EQ(packed->owned_bytes(), expected.packed);
  EXPECT_EQ(packed->is_tiled(), expected.retiles);
  EXPECT_EQ(last, expected.packed);
  EXPECT_EQ(total, expected.packed);
  EXPECT_EQ(plain->owned_bytes(), expected.mapped);
  ModelRunner a(*plain, options), b(*packed, options);
  EXPECT_TRUE(a.Prompt(ids) == b.Prompt(ids));
  EXPECT_TRUE(a.Prompt(ids) == b.Prompt(ids, 1));
}

INSTANTIATE_TEST_SUITE_P(Formats, PackedModel,
                         ::testing::Values(Format::kF32, Format::kBf16, Format::kQ4_0,
                                           Format::kQ5_1, Format::kQ8_0, Format::kQ2_K,
                                           Format::kQ3_K, Format::kQ4_K, Format::kQ5_K,
                                           Format::kQ6_K, Format::kIq4_Nl, Format::kIq4_Xs),
                         [](const auto& info) { return std::string(Info(info.param).name); });

}  // namespace
}  // namespace octet::testing
