#include "ptq/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>

#include "base/file.h"
#include "io/gguf.h"
#include "ptq/convert.h"
#include "support/temp_folder.h"
#include "support/tiny_checkpoint.h"

namespace octet {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Small, but with rows of 256.
ModelConfig WideConfig() {
  ModelConfig config = testing::TinyConfig();
  config.d_model = 256;
  config.n_heads = 4;
  config.n_kv_heads = 2;
  config.head_dim = 64;
  config.d_ff = 256;
  return config;
}

class QuantizeTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    source_ = std::make_unique<testing::TempFolder>();
    testing::WriteTinyCheckpoint(Source(), WideConfig(), Naming::kHfSplit, Format::kBf16);
  }
  static void TearDownTestSuite() { source_.reset(); }
  static fs::path Source() { return *source_ / "in"; }

  Result<QuantizeReport> Quantize(const std::string& to, QuantizeOptions options) {
    return QuantizeCheckpoint(Source(), to.empty() ? fs::path() : folder_ / to, options);
  }
  QuantizeReport MustQuantize(const std::string& to, QuantizeOptions options = {}) {
    const auto report = Quantize(to, options);
    EXPECT_TRUE(report) << report.error().message;
    return report ? *report : QuantizeReport();
  }
  std::string QuantizeError(const std::string& to, const QuantizeOptions& options) {
    const auto report = Quantize(to, options);
    return report ? "no error" : report.error().message;
  }
  std::map<std::string, Format> Formats(const std::string& name) {
    std::map<std::string, Format> formats;
    const auto file = OpenGguf(folder_ / name);
    EXPECT_TRUE(file) << file.error().message;
    if (!file) return formats;
    for (const TensorInfo& info : (*file)->tensors()) formats[info.name] = info.format;
    return formats;
  }

  static inline std::unique_ptr<testing::TempFolder> source_;
  testing::TempFolder folder_;
};

TEST_F(QuantizeTest, WritesTheMixAndItsNumber) {
  MustQuantize("out.gguf");
  auto formats = Formats("out.gguf");
  EXPECT_EQ(formats["token_embd.weight"], Format::kQ4_K);
  EXPECT_EQ(formats["blk.0.attn_v.weight"], Format::kQ8_0);
  EXPECT_EQ(formats["blk.0.attn_output.weight"], Format::kQ5_K);
  EXPECT_EQ(formats["blk.0.ffn_gate_inp.weight"], Format::kF32);
  EXPECT_EQ(formats["blk.0.ffn_gate_exps.weight"], Format::kQ4_K);
  EXPECT_EQ(formats["output.weight"], Format::kQ6_K);
  const auto file = OpenGguf(folder_ / "out.gguf");
  ASSERT_TRUE(file);
  EXPECT_EQ((*file)->metadata().Uint("general.file_type"), 15u);
  EXPECT_EQ((*file)->metadata().Uint("general.quantization_version"), 2u);
}

TEST_F(QuantizeTest, SearchesTheScales) {
  QuantizeOptions options;
  options.type = "q4_0";
  MustQuantize("out.gguf", options);
  const auto file = OpenGguf(folder_ / "out.gguf");
  ASSERT_TRUE(file);
  const TensorInfo* info = (*file)->Find("blk.1.ffn_up_exps.weight");
  ASSERT_NE(info, nullptr);
  const std::vector<float> values =
      testing::TinyTensors(WideConfig(), Naming::kGgufMerged).at(info->name);
  const auto n = static_cast<int64_t>(values.size());
  std::vector<std::byte> searched(info->bytes), plain(info->bytes);
  Info(Format::kQ4_0).encode_weighted(values.data(), nullptr, n, searched.data());
  Info(Format::kQ4_0).encode(values.data(), n, plain.data());
  const auto data = *(*file)->Data(*info);
  EXPECT_TRUE(std::equal(data.begin(), data.end(), searched.begin(), searched.end()));
  EXPECT_FALSE(std::equal(data.begin(), data.end(), plain.begin(), plain.end()));
}

TEST_F(QuantizeTest, HonoursChanges) {
  QuantizeOptions options;
  options.type = "q3_k_s";
  options.experts = "q2_k";
  options.attention = "F16";
  options.overrides = {R"(blk\.1\.ffn_down=q6_k)"};
  MustQuantize("out.gguf", options);
  auto formats = Formats("out.gguf");
  EXPECT_EQ(formats["token_embd.weight"], Format::kQ3_K);
  EXPECT_EQ(formats["blk.0.attn_v.weight"], Format::kF16);
  EXPECT_EQ(formats["blk.0.ffn_down_exps.weight"], Format::kQ2_K);
  EXPECT_EQ(formats["blk.1.ffn_down_exps.weight"], Format::kQ6_K);
}

TEST_F(QuantizeTest, DryRunSaysWhatARunWritesAndWritesNothing) {
  QuantizeOptions options;
  options.dry_run = true;
  const auto dry = MustQuantize("", options);
  EXPECT_TRUE(dry.written.files.empty());
  EXPECT_THAT(dry.notes, IsEmpty());
  const auto real = MustQuantize("out.gguf");
  ASSERT_EQ(dry.tensors.size(), real.tensors.size());
  auto formats = Formats("out.gguf");
  for (const QuantizedTensor& tensor : dry.tensors) {
    EXPECT_EQ(tensor.to, Info(formats[tensor.name]).name) << tensor.name;
    EXPECT_EQ(tensor.from, "BF16");
  }
  EXPECT_EQ(dry.bytes, real.bytes);
  EXPECT_EQ(dry.source_bytes, 2 * dry.values);
  EXPECT_LT(dry.bytes, dry.source_bytes);
  EXPECT_GE(real.written.bytes, real.bytes);
}

TEST_F(QuantizeTest, DoesNotDependOnThreads) {
  QuantizeOptions options;
  options.threads = 1;
  MustQuantize("one.gguf", options);
  options.threads = 3;
  MustQuantize("three.gguf", options);
  EXPECT_TRUE(*ReadTextFile(folder_ / "one.gguf") == *ReadTextFile(folder_ / "three.gguf"));
}

TEST_F(QuantizeTest, ContinuesOnlyTheSameChoice) {
  const std::atomic<bool> stop = true;
  QuantizeOptions options;
  options.stop = &stop;
  EXPECT_THAT(QuantizeError("out.gguf", options), HasSubstr("--resume"));
  options.stop = nullptr;
  options.resume = true;
  options.overrides = {"attn=q6_k"};
  EXPECT_THAT(QuantizeError("out.gguf", options), HasSubstr("other options"));
  options.overrides.clear();
  MustQuantize("out.gguf", options);
  MustQuantize("whole.gguf");
  EXPECT_TRUE(*ReadTextFile(folder_ / "out.gguf") == *ReadTextFile(folder_ / "whole.gguf"));
}

TEST_F(QuantizeTest, SaysWhenTheSourceIsQuantisedAlready) {
  QuantizeOptions options;
  options.type = "q8_0";
  MustQuantize("q8.gguf", options);
  options.type = "q4_k_m";
  const auto again = QuantizeCheckpoint(folder_ / "q8.gguf", folder_ / "q4.gguf", options);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_THAT(again->notes, Contains(HasSubstr("quantised in the source already")));
}

TEST_F(QuantizeTest, ExplainsWrongNames) {
  QuantizeOptions options;
  options.type = "q9_k";
  EXPECT_THAT(QuantizeError("out.gguf", options), HasSubstr("q4_k_m"));
  options.type = "q4_0";
  options.experts = "q3_k_m";  // a mix, not a format
  EXPECT_THAT(QuantizeError("out.gguf", options), HasSubstr("Q3_K"));
  options.experts = "";
  options.overrides = {"down"};
  EXPECT_THAT(QuantizeError("out.gguf", options), HasSubstr("REGEX=TYPE"));
}

}  // namespace
}  // namespace octet
