#include "ptq/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
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
  options.overrides = {"ffn_down=q8_0", R"(layers\.0\.=q8_0)"};
  EXPECT_THAT(QuantizeError("out.gguf", options),
              AllOf(HasSubstr("layers"), HasSubstr("no tensor's name matches")));
}

class ImportanceQuantizeTest : public QuantizeTest {
 protected:
  /// Weights as uneven as real activations are, different for every expert.
  static ImportanceMatrix Uneven(int64_t inputs) {
    ImportanceMatrix matrix;
    const ModelConfig config = WideConfig();
    uint64_t stream = 0;
    for (const TensorSpec& spec : TensorSpecs(config)) {
      if (spec.shape.size() != 2 || spec.role == TensorRole::kEmbedding) continue;
      ImportanceEntry& entry = matrix.entries[PlaceOf(spec, config, Naming::kGgufMerged).name];
      ++entry.matrices;
      entry.cols = spec.shape[1];
      entry.counts.push_back(static_cast<float>(inputs));
      ++stream;
      for (int64_t c = 0; c < entry.cols; ++c) {
        const double normal = RandomNormal(21, stream, static_cast<uint64_t>(c));
        entry.sum_squares.push_back(static_cast<float>(inputs) *
                                    static_cast<float>(std::exp(1.5 * normal)));
      }
    }
    return matrix;
  }
  fs::path Write(const ImportanceMatrix& matrix) {
    const Status status = WriteImportance(folder_ / "imatrix.gguf", matrix);
    EXPECT_TRUE(status) << status.error().message;
    return folder_ / "imatrix.gguf";
  }
  /// Σ importance · (value − written value)² of one tensor.
  double WeightedError(const std::string& file, const std::string& name,
                       const ImportanceMatrix& matrix) {
    const auto gguf = OpenGguf(folder_ / file);
    const TensorInfo* info = (*gguf)->Find(name);
    std::vector<float> written(static_cast<size_t>(info->values()));
    Info(info->format).decode((*(*gguf)->Data(*info)).data(), info->values(), written.data());
    const auto values = testing::TinyTensors(WideConfig(), Naming::kGgufMerged).at(name);
    const ImportanceEntry& entry = matrix.entries.at(name);
    const int64_t rows = info->values() / entry.cols;
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t m = r / (rows / entry.matrices);
      for (int64_t c = 0; c < entry.cols; ++c) {
        const auto at = static_cast<size_t>(r * entry.cols + c);
        const double difference = static_cast<double>(values[at]) - written[at];
        sum += static_cast<double>(entry.sum_squares[static_cast<size_t>(m * entry.cols + c)]) *
               difference * difference;
      }
    }
    return sum;
  }
};

TEST_F(ImportanceQuantizeTest, LosesLessWhereItMatters) {
  const ImportanceMatrix matrix = Uneven(100);
  for (const char* type : {"q2_k", "q3_k_s", "q4_k_s", "q5_k_m", "q6_k", "q4_0", "iq4_xs"}) {
    QuantizeOptions options;
    options.type = type;
    options.force = true;
    MustQuantize("plain.gguf", options);
    options.imatrix = Write(matrix);
    const auto report = MustQuantize("weighted.gguf", options);
    auto plain = Formats("plain.gguf"), weighted = Formats("weighted.gguf");
    for (const char* name : {"blk.0.ffn_gate_exps.weight", "blk.1.ffn_down_exps.weight",
                             "blk.1.ffn_up_exps.weight", "blk.0.attn_q.weight"}) {
      if (plain[name] != weighted[name]) continue;
      EXPECT_LT(WeightedError("weighted.gguf", name, matrix),
                0.9 * WeightedError("plain.gguf", name, matrix))
          << type << " " << name;
    }
    EXPECT_THAT(report.notes, Contains(HasSubstr("embeddings never are")));
  }
  const auto file = OpenGguf(folder_ / "weighted.gguf");
  EXPECT_EQ(*(*file)->metadata().String("quantize.imatrix.file"), "imatrix.gguf");
}

TEST_F(ImportanceQuantizeTest, GivesEveryExpertItsOwnColumns) {
  const ImportanceMatrix matrix = Uneven(100);
  ImportanceMatrix swapped = matrix;
  ImportanceEntry& entry = swapped.entries.at("blk.0.ffn_gate_exps.weight");
  std::rotate(entry.sum_squares.begin(), entry.sum_squares.begin() + entry.cols,
              entry.sum_squares.end());
  QuantizeOptions options;
  options.type = "q3_k_s";
  options.imatrix = Write(matrix);
  MustQuantize("right.gguf", options);
  options.imatrix = Write(swapped);
  MustQuantize("swapped.gguf", options);
  EXPECT_LT(WeightedError("right.gguf", "blk.0.ffn_gate_exps.weight", matrix),
            0.9 * WeightedError("swapped.gguf", "blk.0.ffn_gate_exps.weight", matrix));
}

TEST_F(ImportanceQuantizeTest, FallsBackToTheLayersMeanForExpertsThatSawLittle) {
  QuantizeOptions options;
  options.type = "q3_k_s";
  ImportanceMatrix few = Uneven(100);
  few.entries.at("blk.0.ffn_gate_exps.weight").counts[1] = 5;
  options.imatrix = Write(few);
  const auto report = MustQuantize("few.gguf", options);
  EXPECT_THAT(report.notes, Contains(HasSubstr("blk.0.ffn_gate_exps.weight[1] (5)")));
}

TEST_F(ImportanceQuantizeTest, RefusesAMatrixOfAnotherModel) {
  ImportanceMatrix matrix = Uneven(100);
  ImportanceEntry& entry = matrix.entries.at("blk.1.attn_q.weight");
  entry.cols /= 2;
  entry.sum_squares.resize(static_cast<size_t>(entry.cols));
  QuantizeOptions options;
  options.imatrix = Write(matrix);
  EXPECT_THAT(QuantizeError("out.gguf", options), HasSubstr("another model"));
  options.imatrix = Source() / "config.json";
  EXPECT_THAT(QuantizeError("out.gguf", options), HasSubstr("config.json"));
}

}  // namespace
}  // namespace octet
