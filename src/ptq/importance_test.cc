#include "ptq/importance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/file.h"
#include "ptq/calibration.h"
#include "support/damage.h"
#include "support/model_runner.h"
#include "support/temp_folder.h"

namespace octet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ImportanceMatrix Example() {
  ImportanceMatrix matrix;
  matrix.entries["blk.0.attn_q.weight"] = {1, 3, {100, 200, 300}, {100}};
  matrix.entries["blk.0.ffn_up_exps.weight"] = {2, 2, {320, 64, 3, 9}, {32, 3}};
  matrix.datasets = {"a.txt", "b.txt"};
  matrix.chunks = 7;
  matrix.chunk_tokens = 512;
  return matrix;
}

class ImportanceTest : public ::testing::Test {
 protected:
  std::string Written(const ImportanceMatrix& matrix) {
    const auto path = folder_ / "imatrix.gguf";
    const Status status = WriteImportance(path, matrix);
    EXPECT_TRUE(status) << status.error().message;
    return *ReadTextFile(path);
  }
  static Result<ImportanceMatrix> Parse(std::string_view bytes) {
    return ParseImportance(std::as_bytes(std::span(bytes)), "x.gguf");
  }
  static std::string ParseError(std::string_view bytes) {
    const auto matrix = Parse(bytes);
    return matrix ? "no error" : matrix.error().message;
  }
  testing::TempFolder folder_;
};

TEST_F(ImportanceTest, ReadsWhatItWrites) {
  const ImportanceMatrix example = Example();
  const auto matrix = Parse(Written(example));
  ASSERT_TRUE(matrix) << matrix.error().message;
  EXPECT_EQ(matrix->datasets, example.datasets);
  EXPECT_EQ(matrix->chunks, 7);
  EXPECT_EQ(matrix->chunk_tokens, 512);
  ASSERT_EQ(matrix->entries.size(), 2u);
  for (const auto& [name, entry] : example.entries) {
    const ImportanceEntry& read = matrix->entries.at(name);
    EXPECT_EQ(read.matrices, entry.matrices);
    EXPECT_EQ(read.cols, entry.cols);
    EXPECT_EQ(read.sum_squares, entry.sum_squares);
    EXPECT_EQ(read.counts, entry.counts);
  }
}

TEST_F(ImportanceTest, HasTheTensorsAndKeysThatOtherProgramsLookFor) {
  const std::string bytes = Written(Example());
  const auto file = ParseGguf(std::as_bytes(std::span(bytes)), "x");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(*(*file)->metadata().String("general.type"), "imatrix");
  EXPECT_EQ((*file)->metadata().TypeOf("imatrix.chunk_count"), GgufType::kUint32);
  EXPECT_EQ((*file)->metadata().TypeOf("imatrix.chunk_size"), GgufType::kUint32);
  EXPECT_NE((*file)->metadata().Strings("imatrix.datasets"), nullptr);
  EXPECT_THAT((*file)->Find("blk.0.ffn_up_exps.weight.in_sum2")->shape, ElementsAre(2, 2));
  EXPECT_THAT((*file)->Find("blk.0.ffn_up_exps.weight.counts")->shape, ElementsAre(2, 1));
}

/// The older form, byte by byte: tensors, then chunks and the text's name.
std::string Legacy() {
  std::string bytes;
  const auto number = [&](int32_t n) { bytes.append(reinterpret_cast<const char*>(&n), 4); };
  const auto text = [&](std::string_view s) {
    number(static_cast<int32_t>(s.size()));
    bytes += s;
  };
  number(1);
  text("blk.0.ffn_up_exps.weight");
  number(10);
  number(4);
  const float values[] = {10, 20, 30, 40};
  bytes.append(reinterpret_cast<const char*>(values), sizeof(values));
  number(10);
  text("old.txt");
  return bytes;
}

TEST_F(ImportanceTest, ReadsTheOlderForm) {
  const auto matrix = Parse(Legacy());
  ASSERT_TRUE(matrix) << matrix.error().message;
  EXPECT_THAT(matrix->datasets, ElementsAre("old.txt"));
  const auto entry = EntryFor(*matrix, "blk.0.ffn_up_exps.weight", 2, 2);
  ASSERT_TRUE(entry) << entry.error().message;
  EXPECT_THAT(ImportanceOf(*entry, 0), ElementsAre(1, 2));
  EXPECT_THAT(ImportanceOf(*entry, 1), ElementsAre(3, 4));
}

TEST_F(ImportanceTest, SurvivesDamage) {
  const std::string good = Written(Example()), legacy = Legacy();
  const auto parse = [](std::span<const std::byte> bytes) {
    return ParseImportance(bytes, "damaged").has_value();
  };
  const size_t padding = 24;  // after the eight bytes of the last tensor
  testing::ExpectTruncationsRefused(std::string_view(good).substr(0, good.size() - padding), parse);
  testing::SurviveByteFlips(good, 400, 2000, 3, parse);
  testing::SurviveByteFlips(legacy, legacy.size(), 2000, 4, parse);
}

TEST_F(ImportanceTest, NamesWhatIsWrongWithAFile) {
  EXPECT_THAT(ParseError("what is this"), HasSubstr("x.gguf"));
  ImportanceMatrix matrix = Example();
  matrix.entries["blk.0.attn_q.weight"].sum_squares[1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(ParseError(Written(matrix)), HasSubstr("blk.0.attn_q.weight"));
  matrix = Example();
  matrix.entries["blk.0.attn_q.weight"].counts[0] = -1;
  EXPECT_THAT(ParseError(Written(matrix)), HasSubstr("at least 0"));
  matrix = Example();
  matrix.entries["blk.0.attn_q.weight"].counts[0] = 1e30f;
  EXPECT_THAT(ParseError(Written(matrix)), HasSubstr("cannot be"));
  matrix.entries.clear();
  EXPECT_THAT(ParseError(Written(matrix)), HasSubstr("in_sum2"));
  EXPECT_FALSE(EntryFor(Example(), "blk.0.attn_q.weight", 1, 4));
  EXPECT_EQ(EntryFor(Example(), "token_embd.weight", 1, 4)->matrices, 0);
}

TEST(ImportanceOf, TakesTheMeanOfAllWhereAnExpertSawLittle) {
  const ImportanceEntry entry = Example().entries["blk.0.ffn_up_exps.weight"];
  EXPECT_THAT(ImportanceOf(entry, 0), ElementsAre(10, 2));
  EXPECT_THAT(ImportanceOf(entry, 1), ElementsAre(323.0f / 35, 73.0f / 35));
  EXPECT_THAT(ImportanceOf({2, 1, {0, 0}, {0, 0}}, 1), IsEmpty());
}

double Sum(const ImportanceEntry& entry) {
  double sum = 0;
  for (const float square : entry.sum_squares) sum += square;
  return sum;
}

TEST(ImportanceCollector, CountsEveryTokenInTheExpertsItChose) {
  const auto model = testing::SyntheticModel(testing::TinyMixtralConfig());
  testing::ModelRunner runner(*model, {});
  ImportanceCollector collector(model->config());
  const auto ids = testing::RandomIds(60, model->config().vocab_size, 1);
  runner.Prompt(ids, 17, &collector);
  const ImportanceMatrix matrix = collector.Matrix();
  // q, k, v, o, router, gate, up, down of three layers, and the head.
  EXPECT_EQ(matrix.entries.size(), 3u * 8 + 1);
  const auto tokens = collector.ExpertTokens();
  ASSERT_EQ(tokens.size(), 3u * 8);
  for (int64_t layer = 0; layer < 3; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    const ImportanceEntry& router = matrix.entries.at(prefix + "ffn_gate_inp.weight");
    const ImportanceEntry& gate = matrix.entries.at(prefix + "ffn_gate_exps.weight");
    int64_t slots = 0;
    for (int64_t e = 0; e < 8; ++e) {
      slots += tokens[static_cast<size_t>(layer * 8 + e)];
      EXPECT_EQ(gate.count(e), tokens[static_cast<size_t>(layer * 8 + e)]);
    }
    EXPECT_EQ(slots, 2 * 60);
    EXPECT_EQ(router.count(0), 60);
    // Every row the router saw went to two experts; the sums are rounded to float one by one.
    EXPECT_NEAR(Sum(gate), 2 * Sum(router), 2 * Sum(router) * 0x1p-22);
    EXPECT_EQ(matrix.entries.at(prefix + "ffn_up_exps.weight").sum_squares, gate.sum_squares);
    EXPECT_EQ(matrix.entries.at(prefix + "ffn_down_exps.weight").cols, 96);
    EXPECT_EQ(matrix.entries.at(prefix + "attn_q.weight").sum_squares,
              matrix.entries.at(prefix + "attn_v.weight").sum_squares);
  }
}

TEST(ImportanceCollector, GoesOnFromAnEarlierResult) {
  const auto model = testing::SyntheticModel(testing::TinyMixtralConfig());
  testing::ModelRunner runner(*model, {});
  const auto first = testing::RandomIds(30, model->config().vocab_size, 1);
  const auto second = testing::RandomIds(40, model->config().vocab_size, 2);
  ImportanceCollector whole(model->config()), a(model->config()), b(model->config());
  runner.Prompt(first, 0, &whole);
  runner.Prompt(second, 0, &whole);
  runner.Prompt(first, 0, &a);
  ASSERT_TRUE(b.Restore(a.Matrix()));
  runner.Prompt(second, 0, &b);
  EXPECT_EQ(b.ExpertTokens(), whole.ExpertTokens());
  const ImportanceMatrix want = whole.Matrix(), got = b.Matrix();
  for (const auto& [name, entry] : want.entries) {
    const ImportanceEntry& other = got.entries.at(name);
    for (size_t i = 0; i < entry.sum_squares.size(); ++i) {
      // The earlier sum went through a float.
      EXPECT_NEAR(other.sum_squares[i], entry.sum_squares[i], entry.sum_squares[i] * 0x1p-22);
    }
  }
  ModelConfig other = testing::TinyMixtralConfig();
  other.d_ff = 64;
  EXPECT_FALSE(ImportanceCollector(other).Restore(whole.Matrix()));
}

TEST(ImportanceCollector, WatchesDenseModelsToo) {
  ModelConfig config = testing::TinyMixtralConfig();
  config.architecture = "mistral";
  config.n_experts = config.n_experts_per_token = 0;
  const auto model = testing::SyntheticModel(config);
  testing::ModelRunner runner(*model, {});
  ImportanceCollector collector(config);
  runner.Prompt(testing::RandomIds(20, config.vocab_size, 1), 0, &collector);
  const ImportanceMatrix matrix = collector.Matrix();
  EXPECT_EQ(matrix.entries.at("blk.2.ffn_down.weight").count(0), 20);
  EXPECT_EQ(matrix.entries.at("blk.2.ffn_gate.weight").matrices, 1);
  EXPECT_FALSE(matrix.entries.contains("blk.2.ffn_gate_inp.weight"));
}

}  // namespace
}  // namespace octet
