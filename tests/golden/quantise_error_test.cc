// Our encoders against llama.cpp's: the same F16 matrices, its quantised files, who loses less.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "io/gguf.h"
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

}  // namespace
}  // namespace octet
