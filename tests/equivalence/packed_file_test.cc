// A packed file gives the bits of the model it was made from, from shared pages, and is refused
// where it cannot be read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/file.h"
#include "model/packing.h"
#include "ptq/convert.h"
#include "support/model_runner.h"
#include "support/temp_folder.h"

namespace octet::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

ModelConfig SmallConfig() {
  ModelConfig config = TinyMixtralConfig();
  config.d_model = 256;
  config.n_heads = 4;
  config.head_dim = 64;
  config.d_ff = 500;  // no whole panels, and no whole steps of w2's columns
  config.n_layers = 2;
  return config;
}

KernelTable Kernels() { return SelectKernels(Must(SelectIsaFromEnvironment())); }

/// Formats with blocks of 32 take rows of 500 values no better than those of 256: w2 is F16 there.
Checkpoint Synthetic(Format format) {
  SyntheticOptions options;
  options.choose = [format](const TensorSpec& spec, const std::string&) {
    return spec.shape.back() % Info(format).block_values == 0 ? format : Format::kF16;
  };
  return Must(MakeSyntheticCheckpoint(SmallConfig(), options));
}

Result<ConvertReport> PackTo(const fs::path& path, Format format, const KernelTable& kernels) {
  ConvertSource source;
  source.checkpoint = Synthetic(format);
  return ConvertOpened(std::move(source), path, {.target = ConvertTarget::kGguf},
                       {.pack_for = &kernels});
}

class PackedFileOf : public ::testing::TestWithParam<Format> {};

TEST_P(PackedFileOf, GivesTheBitsOfItsSource) {
  const KernelTable kernels = Kernels();
  if (BestLayout(kernels, GetParam()) == Layout::kRowMajor) GTEST_SKIP() << "no packed kernel here";
  const TempFolder folder;
  const auto report = PackTo(folder / "m.packed", GetParam(), kernels);
  ASSERT_TRUE(report) << report.error().message;
  const auto plain = Must(Model::Load(Synthetic(GetParam())));
  const auto packed = Must(Model::Load(Must(OpenCheckpoint(folder / "m.packed")), {&kernels}));
  EXPECT_TRUE(packed->is_tiled());
  EXPECT_EQ(packed->owned_bytes(), plain->owned_bytes());  // norms alone
  const RunnerOptions options{.kv_format = Format::kF16, .arithmetic = Arithmetic::kFast};
  const auto ids = RandomIds(40, plain->config().vocab_size, 5);
  ModelRunner a(*plain, options), b(*packed, options);
  EXPECT_TRUE(a.Prompt(ids) == b.Prompt(ids));
  EXPECT_TRUE(a.Prompt(ids) == b.Prompt(ids, 1));
}

INSTANTIATE_TEST_SUITE_P(Formats, PackedFileOf,
                         ::testing::Values(Format::kBf16, Format::kQ4_0, Format::kQ8_0,
                                           Format::kQ2_K, Format::kQ3_K, Format::kQ4_K,
                                           Format::kQ6_K, Format::kIq4_Xs),
                         [](const auto& info) { return std::string(Info(info.param).name); });

/// KiB of the mapping of `path` that this process has for itself, and how it is mapped.
struct Mapping {
  int64_t private_kb = 0, resident_kb = 0;
  std::string flags;
};
Mapping MappingOf(const fs::path& path) {
  Mapping mapping;
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  while (std::getline(smaps, line)) {
    std::istringstream words(line);
    std::string first, second;
    words >> first >> second;
    if (first.find('-') != std::string::npos && first.back() != ':') {
      inside = line.find(path.filename().string()) != std::string::npos;
      if (inside) mapping.flags = second;
    } else if (inside && (first == "Private_Dirty:" || first == "Anonymous:")) {
      mapping.private_kb += std::stol(second);
    } else if (inside && first == "Rss:") {
      mapping.resident_kb += std::stol(second);
    }
  }
  return mapping;
}

TEST(PackedFile, IsReadWhereItIsMappedAndShared) {
  const KernelTable kernels = Kernels();
  if (BestLayout(kernels, Format::kQ4_K) == Layout::kRowMajor) GTEST_SKIP();
  const TempFolder folder;
  ASSERT_TRUE(PackTo(folder / "shared.packed", Format::kQ4_K, kernels));
  const auto model = Must(Model::Load(Must(OpenCheckpoint(folder / "shared.packed")), {&kernels}));
  ModelRunner runner(*model, {.kv_format = Format::kF16, .arithmetic = Arithmetic::kFast});
  runner.Prompt(RandomIds(8, model->config().vocab_size, 5));
  const Mapping mapping = MappingOf(folder / "shared.packed");
  EXPECT_EQ(mapping.flags, "r--s");
  EXPECT_GT(mapping.resident_kb, 0);
  EXPECT_EQ(mapping.private_kb, 0);
}

std::string LoadError(const fs::path& path, const LoadTarget& target) {
  auto checkpoint = OpenCheckpoint(path);
  if (!checkpoint) return checkpoint.error().message;
  const auto model = Model::Load(*std::move(checkpoint), target);
  return model ? "no error" : model.error().message;
}

TEST(PackedFile, IsRefusedWhereNoKernelReadsIt) {
  const KernelTable kernels = Kernels(), reference = SelectKernels(0);
  if (BestLayout(kernels, Format::kQ4_K) == Layout::kRowMajor) GTEST_SKIP();
  const TempFolder folder;
  const fs::path path = folder / "m.packed";
  ASSERT_TRUE(PackTo(path, Format::kQ4_K, kernels));
  EXPECT_EQ(LoadError(path, {&kernels}), "no error");
  EXPECT_THAT(LoadError(path, {}), HasSubstr("packed as panel16.1 for x86_64"));
  EXPECT_THAT(LoadError(path, {&reference}), HasSubstr("pack that again on this machine"));
  EXPECT_THAT(LoadError(path, {&kernels, Arithmetic::kFloat32}), HasSubstr("--arithmetic fast"));
  const auto converted = ConvertCheckpoint(path, folder / "back.gguf", {});
  ASSERT_FALSE(converted);
  EXPECT_THAT(converted.error().message, HasSubstr("the model it was packed from"));
  EXPECT_FALSE(PackTo(folder / "none.packed", Format::kQ4_K, reference));
  EXPECT_FALSE(fs::exists(folder / "none.packed"));
}

TEST(PackedFile, IsRefusedWhenItIsCutOrOfAnotherVersion) {
  const KernelTable kernels = Kernels();
  if (BestLayout(kernels, Format::kQ4_K) == Layout::kRowMajor) GTEST_SKIP();
  const TempFolder folder;
  const fs::path path = folder / "m.packed";
  ASSERT_TRUE(PackTo(path, Format::kQ4_K, kernels));
  std::string bytes = *ReadTextFile(path);

  const auto with = [&](std::string_view from, std::string_view to) {
    std::string changed = bytes;
    const size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    changed.replace(at, to.size(), to);
    std::ofstream(folder / "changed.packed", std::ios::binary) << changed;
    return LoadError(folder / "changed.packed", {&kernels});
  };
  EXPECT_THAT(with("panel16.1", "panel16.9"), HasSubstr("layout panel16.9, which this version"));
  // The key, its type (u32 is 4), its value.
  const std::string version = kPackedVersionKey + std::string("\4\0\0\0\1", 5);
  EXPECT_THAT(with(version, kPackedVersionKey + std::string("\4\0\0\0\2", 5)),
              HasSubstr("packed model of version 2"));
  for (const size_t cut : {size_t{4096}, bytes.size() / 2, bytes.size() - 100}) {
    fs::resize_file(path, bytes.size() - cut);
    EXPECT_THAT(LoadError(path, {&kernels}), HasSubstr("truncated"));
    std::ofstream(path, std::ios::binary) << bytes;
  }
}

}  // namespace
}  // namespace octet::testing
