// Our encoders against llama.cpp's: the same F16 matrices, its quantised files, who loses less.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "io/gguf.h"
#include "ptq/calibration.h"
#include "support/model_runner.h"
#include "support/shared_data.h"

namespace octet {
namespace {

std::vector<float> Decode(const TensorSource& source, const TensorInfo& info) {
  const auto bytes = source.Data(info);
  if (!bytes) {
    ADD_FAILURE() << bytes.error().message;
    return {};
  }
  std::vector<float> values(static_cast<size_t>(info.values()));
  Info(info.format).decode(bytes->data(), info.values(), values.data());
  return values;
}

double SquaredError(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += difference * difference;
  }
  return sum;
}

TEST(QuantiseError, IsBelowThatOfLlamaCppInEveryTensor) {
  OCTET_NEEDS_SHARED_DATA();
  const auto stem =
      (testing::SharedData() / "reference/models/mixtral-hd128/gguf/mixtral-hd128-").string();
  const auto original = OpenGguf(stem + "F16.gguf");
  ASSERT_TRUE(original) << original.error().message;
  for (const char* type : {"Q8_0", "Q6_K", "Q4_K", "Q4_0", "IQ4_XS", "Q3_K", "Q2_K"}) {
    const auto theirs = OpenGguf(stem + type + ".gguf");
    ASSERT_TRUE(theirs) << theirs.error().message;
    int compared = 0;
    for (const TensorInfo& info : (*theirs)->tensors()) {
      if (Info(info.format).block_values == 1) continue;
      const TensorInfo* source = (*original)->Find(info.name);
      ASSERT_NE(source, nullptr) << info.name;
      const std::vector<float> values = Decode(**original, *source);
      std::vector<std::byte> blocks(info.bytes);
      Info(info.format).encode_weighted(values.data(), nullptr, info.values(), blocks.data());
      std::vector<float> ours(values.size());
      Info(info.format).decode(blocks.data(), info.values(), ours.data());
      EXPECT_LT(SquaredError(values, ours), SquaredError(values, Decode(**theirs, info)))
          << type << " " << info.name;
      ++compared;
    }
    EXPECT_GT(compared, 0) << type;
  }
}

/// Σ importance · (a − b)², rows of each matrix one after another.
double WeightedError(const std::vector<float>& a, const std::vector<float>& b,
                     const ImportanceEntry& entry) {
  const auto cols = static_cast<size_t>(entry.cols);
  const size_t matrix = a.size() / static_cast<size_t>(entry.matrices);
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += static_cast<double>(entry.sum_squares[i / matrix * cols + i % cols]) * difference *
           difference;
  }
  return sum;
}

std::vector<float> Encoded(Format format, const std::vector<float>& values,
                           const ImportanceEntry& entry, bool weighted) {
  std::vector<std::byte> row(static_cast<size_t>(FormatBytes(format, entry.cols)));
  std::vector<float> decoded(values.size());
  const auto rows = static_cast<int64_t>(values.size()) / entry.cols;
  for (int64_t r = 0; r < rows; ++r) {
    const std::vector<float> importance =
        weighted ? ImportanceOf(entry, r / (rows / entry.matrices)) : std::vector<float>();
    Info(format).encode_weighted(values.data() + r * entry.cols,
                                 weighted ? importance.data() : nullptr, entry.cols, row.data());
    Info(format).decode(row.data(), entry.cols, decoded.data() + r * entry.cols);
  }
  return decoded;
}

TEST(QuantiseError, WeightedByRealInputsFallsBelowLlamaCppsAndOurOwn) {
  OCTET_NEEDS_SHARED_DATA();
  const auto stem =
      (testing::SharedData() / "reference/models/mixtral-hd128/gguf/mixtral-hd128-").string();
  auto checkpoint = OpenCheckpoint(stem + "F16.gguf");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  const auto original = OpenGguf(stem + "F16.gguf");
  ASSERT_TRUE(original) << original.error().message;
  const auto model = testing::Must(Model::Load(*std::move(checkpoint)));
  testing::ModelRunner runner(*model, {});
  ImportanceCollector collector(model->config());
  runner.Prompt(testing::RandomIds(400, model->config().vocab_size, 5), 0, &collector);
  const ImportanceMatrix importance = collector.Matrix();
  for (const char* type : {"Q4_K", "Q4_0", "IQ4_XS", "Q3_K", "Q2_K"}) {
    const auto theirs = OpenGguf(stem + type + ".gguf");
    ASSERT_TRUE(theirs) << theirs.error().message;
    double plain = 0.0, weighted = 0.0, other = 0.0;
    for (const TensorInfo& info : (*theirs)->tensors()) {
      const auto found = importance.entries.find(info.name);
      if (Info(info.format).block_values == 1 || found == importance.entries.end()) continue;
      const std::vector<float> values = Decode(**original, *(*original)->Find(info.name));
      const ImportanceEntry& entry = found->second;
      const double mine = WeightedError(values, Encoded(info.format, values, entry, true), entry);
      const double its = WeightedError(values, Decode(**theirs, info), entry);
      EXPECT_LT(mine, its) << type << " " << info.name;
      weighted += mine;
      other += its;
      plain += WeightedError(values, Encoded(info.format, values, entry, false), entry);
    }
    EXPECT_LT(weighted, plain) << type;
    EXPECT_GT(other, 0.0) << type;
  }
}

}  // namespace
}  // namespace octet
