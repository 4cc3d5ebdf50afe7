#include "io/safetensors.h"

#include <gtest/gtest.h>

#include <string>

#include "support/damage.h"
#include "support/torch_file.h"

namespace octet {
namespace {

using ::octet::testing::Raw;

std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string File(const std::string& header, size_t data_bytes) {
  std::string data(data_bytes, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i);
  return Raw<uint64_t>(header.size()) + header + data;
}

Status Parse(MappedTensors& into, std::string_view file, OpenMode mode = OpenMode::kFull) {
  return AddSafetensors(into, Bytes(file), "test.safetensors", mode);
}

void ExpectError(const std::string& file, ErrorCode code, const std::string& message,
                 OpenMode mode = OpenMode::kFull) {
  MappedTensors tensors;
  const Status status = Parse(tensors, file, mode);
  ASSERT_FALSE(status) << file;
  EXPECT_EQ(status.error().code, code) << status.error().message;
  EXPECT_NE(status.error().message.find(message), std::string::npos) << status.error().message;
}

constexpr char kTwo[] = R"({"__metadata__":{"format":"pt"},)"
                        R"("b":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},)"
                        R"("a":{"dtype":"F32","shape":[2],"data_offsets":[12,20]}}  )";

TEST(Safetensors, ListsTensorsInFileOrderWithTheirBytes) {
  const std::string file = File(kTwo, 20);
  MappedTensors tensors;
  ASSERT_TRUE(Parse(tensors, file));
  ASSERT_EQ(tensors.tensors().size(), 2u);
  EXPECT_EQ(tensors.tensors()[0].name, "b");
  EXPECT_EQ(tensors.tensors()[0].format, Format::kBf16);
  EXPECT_EQ(tensors.tensors()[0].shape, (std::vector<int64_t>{2, 3}));
  const TensorInfo* const a = tensors.Find("a");
  ASSERT_NE(a, nullptr);
  const auto data = tensors.Data(*a);
  ASSERT_TRUE(data);
  ASSERT_EQ(data->size(), 8u);
  EXPECT_EQ(static_cast<int>((*data)[0]), 12);
  EXPECT_EQ(tensors.metadata().at("format"), "pt");
  EXPECT_EQ(tensors.Find("c"), nullptr);
}

TEST(Safetensors, SkipsIntegersAndRefusesOtherFloats) {
  const std::string header = R"({"ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
                             R"("w":{"dtype":"F16","shape":[],"data_offsets":[8,10]}})";
  const std::string file = File(header, 10);
  MappedTensors tensors;
  ASSERT_TRUE(Parse(tensors, file));
  ASSERT_EQ(tensors.tensors().size(), 1u);
  ASSERT_EQ(tensors.skipped().size(), 1u);
  EXPECT_EQ(tensors.skipped()[0].name, "ids");
  EXPECT_EQ(tensors.skipped()[0].why, "type I64");

  const std::string f8 = File(R"({"w":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}})", 4);
  ExpectError(f8, ErrorCode::kUnsupported, "w has type F8_E4M3");
  MappedTensors headers;
  ASSERT_TRUE(Parse(headers, f8, OpenMode::kHeadersOnly));
  EXPECT_EQ(headers.skipped().size(), 1u);
}

TEST(Safetensors, HeadersOnlyAcceptsMissingDataAndDataSaysSo) {
  std::string file = File(kTwo, 20);
  file.resize(file.size() - 1);
  ExpectError(file, ErrorCode::kCorrupt, "truncated");
  MappedTensors tensors;
  ASSERT_TRUE(Parse(tensors, file, OpenMode::kHeadersOnly));
  EXPECT_TRUE(tensors.Data(*tensors.Find("b")));
  const auto data = tensors.Data(*tensors.Find("a"));
  ASSERT_FALSE(data);
  EXPECT_EQ(data.error().code, ErrorCode::kNotFound);
}

TEST(Safetensors, RefusesWhatContradictsItself) {
  const auto one = [](const std::string& entry) { return File("{\"w\":{" + entry + "}}", 16); };
  const auto corrupt = [&](const std::string& entry, const std::string& message) {
    ExpectError(one(entry), ErrorCode::kCorrupt, message);
  };
  corrupt(R"("dtype":"F32","shape":[5],"data_offsets":[0,16])", "takes 20 bytes");
  corrupt(R"("dtype":"F32","shape":[4],"data_offsets":[16,0])", "offsets are [16, 0)");
  corrupt(R"("dtype":"F32","shape":[4],"data_offsets":[4,20])", "truncated");
  corrupt(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0])", "impossible");
  corrupt(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,0])", "dimension");
  corrupt(R"("dtype":"F32","shape":[-4],"data_offsets":[0,16])", "negative");
  corrupt(R"("dtype":"F32","shape":[4.0],"data_offsets":[0,16])", "fraction");
  corrupt(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,4],"data_offsets":[0,16])", "8 dimensions");
  corrupt(R"("dtype":"F32","shape":[4],"data_offsets":[0,8,16])", "two data_offsets");
  corrupt(R"("dtype":"F32","shape":[4],"data_offsets":[0])", "missing");
  corrupt(R"("dtype":"F32","shape":[4])", "missing");
  corrupt(R"("dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16])", "twice");
  corrupt(R"("dtype":"F32","shape":[[4]],"data_offsets":[0,16])", "array");
  corrupt(R"("dtype":"F32","shape":{"a":4},"data_offsets":[0,16])", "object");
  corrupt(R"("dtype":"F32","shape":[4],"extra":1,"data_offsets":[0,16])", "unknown field");
}

TEST(Safetensors, RefusesOverlapsAndRepeatedNames) {
  ExpectError(File(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                   R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                   16),
              ErrorCode::kCorrupt, "tensors a and b overlap");
  ExpectError(File(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                   R"("a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})",
                   16),
              ErrorCode::kCorrupt, "has tensor a twice");
}

TEST(Safetensors, RefusesWhatIsNoHeader) {
  ExpectError("", ErrorCode::kCorrupt, "header length");
  ExpectError(Raw<uint64_t>(~0ull) + "{}", ErrorCode::kCorrupt, "not a safetensors file");
  ExpectError(Raw<uint64_t>(100'000'001) + "{}", ErrorCode::kCorrupt, "100000000");
  ExpectError(File("{\"w\":", 0), ErrorCode::kCorrupt, "not valid JSON");
  ExpectError(File("[]", 0), ErrorCode::kCorrupt, "array");
  ExpectError(File(std::string(100000, '['), 0), ErrorCode::kCorrupt, "array");
  ExpectError("version https://git-lfs.github.com/spec/v1\noid sha256:00\n", ErrorCode::kCorrupt,
              "git lfs pull");
}

TEST(Safetensors, SurvivesDamage) {
  const std::string file = File(kTwo, 20);
  const auto parse = [](std::span<const std::byte> bytes) {
    MappedTensors tensors;
    if (!AddSafetensors(tensors, bytes, "damaged", OpenMode::kFull)) return false;
    testing::TouchAll(tensors);
    return true;
  };
  testing::ExpectTruncationsRefused(file, parse);
  testing::SurviveByteFlips(file, file.size() - 20, 1000, 20240116, parse);
}

}  // namespace
}  // namespace octet
