#include "io/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "support/sha256.h"
#include "support/shared_data.h"

namespace octet {
namespace {

using ::testing::HasSubstr;

/// Builds a GGUF byte by byte, also such as no writer would make.
class Bytes {
 public:
  template <class T>
  Bytes& Put(T value) {
    const auto* raw = reinterpret_cast<const std::byte*>(&value);
    data_.insert(data_.end(), raw, raw + sizeof(T));
    return *this;
  }
  Bytes& String(std::string_view text) {
    Put(uint64_t{text.size()});
    for (const char c : text) data_.push_back(static_cast<std::byte>(c));
    return *this;
  }
  Bytes& Preamble(uint32_t version, uint64_t tensors, uint64_t keys) {
    return Put(uint32_t{0x46554747}).Put(version).Put(tensors).Put(keys);
  }
  Bytes& Tensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
                uint64_t offset) {
    String(name).Put(static_cast<uint32_t>(dims.size()));
    for (const uint64_t d : dims) Put(d);
    return Put(type).Put(offset);
  }
  Bytes& PadTo(size_t alignment) {
    while (data_.size() % alignment != 0) data_.push_back(std::byte{0});
    return *this;
  }
  Bytes& Fill(size_t n) {
    for (size_t i = 0; i < n; ++i) data_.push_back(static_cast<std::byte>(i));
    return *this;
  }
  Result<std::unique_ptr<GgufFile>> Parse(OpenMode mode = OpenMode::kFull) const {
    return ParseGguf(data_, "test.gguf", mode);
  }

 private:
  std::vector<std::byte> data_;
};

constexpr uint32_t kF32 = 0, kQ4_0 = 2;

std::string ErrorOf(const Bytes& bytes, ErrorCode code) {
  const auto file = bytes.Parse();
  if (file) return "no error";
  EXPECT_EQ(ErrorCodeName(file.error().code), ErrorCodeName(code)) << file.error().message;
  EXPECT_THAT(file.error().message, HasSubstr("test.gguf"));
  return file.error().message;
}

TEST(Gguf, GivesShapesOutermostFirstAndTheDataBehindThem) {
  const Bytes bytes = Bytes()
                          .Preamble(3, 2, 0)
                          .Tensor("a", {4, 2}, kF32, 0)
                          .Tensor("b", {32, 3, 1}, kQ4_0, 32)
                          .PadTo(32)
                          .Fill(32 + 54);
  const auto file = bytes.Parse();
  ASSERT_TRUE(file) << file.error().message;
  const TensorInfo& b = (*file)->tensors()[1];
  EXPECT_EQ((*file)->tensors()[0].shape, (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(b.shape, (std::vector<int64_t>{1, 3, 32}));
  EXPECT_EQ(b.bytes, 3 * 18u);
  EXPECT_EQ((*file)->Find("b"), &b);
  EXPECT_EQ((*file)->Find("c"), nullptr);
  EXPECT_EQ((*(*file)->Data(b))[0], std::byte{32});
}

TEST(Gguf, ReadsEveryKindOfMetadata) {
  const auto file = Bytes()
                        .Preamble(2, 0, 6)
                        .String("u8")
                        .Put(uint32_t{0})
                        .Put(uint8_t{200})
                        .String("i16")
                        .Put(uint32_t{3})
                        .Put(int16_t{-5})
                        .String("f32")
                        .Put(uint32_t{6})
                        .Put(1.5f)
                        .String("yes")
                        .Put(uint32_t{7})
                        .Put(uint8_t{1})
                        .String("name")
                        .Put(uint32_t{8})
                        .String("Ada")
                        .String("list")
                        .Put(uint32_t{9})
                        .Put(uint32_t{5})
                        .Put(uint64_t{2})
                        .Put(int32_t{-1})
                        .Put(int32_t{7})
                        .Parse();
  ASSERT_TRUE(file) << file.error().message;
  const GgufMetadata& metadata = (*file)->metadata();
  EXPECT_EQ(metadata.Uint("u8"), 200u);
  EXPECT_EQ(metadata.Float("u8"), 200.0);
  EXPECT_EQ(metadata.Uint("i16"), std::nullopt);
  EXPECT_EQ(metadata.Float("i16"), -5.0);
  EXPECT_EQ(metadata.Float("f32"), 1.5);
  EXPECT_EQ(metadata.Bool("yes"), true);
  EXPECT_EQ(*metadata.String("name"), "Ada");
  EXPECT_EQ(*metadata.Ints("list"), (std::vector<int64_t>{-1, 7}));
  EXPECT_EQ(metadata.Strings("list"), nullptr);
  EXPECT_EQ(metadata.TypeOf("u8"), GgufType::kUint8);
}

TEST(Gguf, HonoursTheAlignmentKey) {
  Bytes bytes;
  bytes.Preamble(3, 1, 1).String("general.alignment").Put(uint32_t{4}).Put(uint32_t{256});
  bytes.Tensor("a", {2}, kF32, 0).PadTo(256).Put(3.0f).Put(4.0f);
  const auto file = bytes.Parse();
  ASSERT_TRUE(file) << file.error().message;
  const auto data = (*file)->Data((*file)->tensors()[0]);
  float first = 0;
  std::memcpy(&first, data->data(), sizeof first);
  EXPECT_EQ(first, 3.0f);
}

TEST(Gguf, RefusesWhatIsNotAReadableGguf) {
  using enum ErrorCode;
  EXPECT_THAT(ErrorOf(Bytes().Put(uint32_t{0x04034b50}), kCorrupt), HasSubstr("not a GGUF"));
  EXPECT_THAT(ErrorOf(Bytes().Preamble(1, 0, 0), kUnsupported), HasSubstr("version 1"));
  EXPECT_THAT(ErrorOf(Bytes().Preamble(0x03000000, 0, 0), kUnsupported), HasSubstr("big-endian"));
  EXPECT_THAT(ErrorOf(Bytes().Preamble(4, 0, 0), kUnsupported), HasSubstr("version 4"));
}

TEST(Gguf, RefusesCountsThatTheFileCannotHold) {
  using enum ErrorCode;
  EXPECT_THAT(ErrorOf(Bytes().Preamble(3, 0, 1ull << 60), kCorrupt), HasSubstr("metadata keys"));
  EXPECT_THAT(ErrorOf(Bytes().Preamble(3, 1ull << 60, 0), kCorrupt), HasSubstr("tensors"));
  Bytes array;
  array.Preamble(3, 0, 1).String("k").Put(uint32_t{9}).Put(uint32_t{8}).Put(uint64_t{1} << 23);
  EXPECT_THAT(ErrorOf(array, kCorrupt), HasSubstr("strings"));
}

TEST(Gguf, NamesTheTensorAndTheTypeItCannotDecode) {
  const std::string message =
      ErrorOf(Bytes().Preamble(3, 1, 0).Tensor("blk.0.ffn_down.weight", {256}, 17, 0),
              ErrorCode::kUnsupported);
  EXPECT_THAT(message, HasSubstr("blk.0.ffn_down.weight"));
  EXPECT_THAT(message, HasSubstr("IQ2_XS"));
}

TEST(Gguf, RefusesContradictoryTensors) {
  using enum ErrorCode;
  auto one = [](const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
    return Bytes().Preamble(3, 1, 0).Tensor("a", dims, type, offset).PadTo(32).Fill(64);
  };
  EXPECT_THAT(ErrorOf(one({33}, kQ4_0, 0), kCorrupt), HasSubstr("blocks of 32"));
  EXPECT_THAT(ErrorOf(one({4, 0}, kF32, 0), kCorrupt), HasSubstr("impossible dimension"));
  EXPECT_THAT(ErrorOf(one({1ull << 40, 1ull << 40}, kF32, 0), kCorrupt),
              HasSubstr("impossible dimension"));
  EXPECT_THAT(ErrorOf(one({1, 1, 1, 1, 1}, kF32, 0), kCorrupt), HasSubstr("5 dimensions"));
  EXPECT_THAT(ErrorOf(one({4}, kF32, 8), kCorrupt), HasSubstr("multiple of 32"));
  EXPECT_THAT(ErrorOf(one({100}, kF32, 0), kCorrupt), HasSubstr("truncated"));
  EXPECT_THAT(ErrorOf(one({4}, kF32, ~uint64_t{31}), kCorrupt), HasSubstr("offset"));
  Bytes twice, overlap;
  twice.Preamble(3, 2, 0).Tensor("a", {4}, kF32, 0).Tensor("a", {4}, kF32, 32).PadTo(32).Fill(64);
  EXPECT_THAT(ErrorOf(twice, kCorrupt), HasSubstr("twice"));
  overlap.Preamble(3, 2, 0).Tensor("a", {9}, kF32, 0).Tensor("b", {4}, kF32, 32).PadTo(32).Fill(64);
  EXPECT_THAT(ErrorOf(overlap, kCorrupt), HasSubstr("overlap"));
}

TEST(Gguf, ReadsHeadersWithoutTheirData) {
  const auto file =
      Bytes().Preamble(3, 1, 0).Tensor("a", {1024, 1024}, kF32, 0).Parse(OpenMode::kHeadersOnly);
  ASSERT_TRUE(file) << file.error().message;
  const auto data = (*file)->Data((*file)->tensors()[0]);
  ASSERT_FALSE(data);
  EXPECT_EQ(data.error().code, ErrorCode::kNotFound);
}

/// Every GGUF of the shared data with the golden listing beside its model, if it has one.
TEST(Gguf, AgreesWithTheListingsOfOtherPrograms) {
  OCTET_NEEDS_SHARED_DATA();
  const auto reference = testing::SharedData() / "reference";
  int compared = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(reference / "models")) {
    if (entry.path().extension() != ".gguf") continue;
    const auto file = OpenGguf(entry.path());
    ASSERT_TRUE(file) << file.error().message;
    const auto model = entry.path().parent_path().parent_path().filename();
    std::ifstream listing(reference / "golden" / model /
                          (entry.path().filename().string() + ".json"));
    if (!listing) continue;
    ++compared;
    const auto golden = nlohmann::json::parse(listing);
    const auto& tensors = golden.at("tensors");
    ASSERT_EQ((*file)->tensors().size(), tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      const TensorInfo& info = (*file)->tensors()[i];
      auto shape = tensors[i].at("ne").get<std::vector<int64_t>>();
      std::reverse(shape.begin(), shape.end());
      EXPECT_EQ(info.name, tensors[i].at("name"));
      EXPECT_EQ(octet::Info(info.format).name, tensors[i].at("type").get<std::string>());
      EXPECT_EQ(info.shape, shape);
      EXPECT_EQ(testing::Sha256(*(*file)->Data(info)), tensors[i].at("sha256")) << info.name;
    }
    for (const auto& [key, value] : golden.at("kv").items()) {
      if (key.starts_with("GGUF.")) continue;
      if (value.is_string() && value.get<std::string>().starts_with("array[")) {
        EXPECT_TRUE((*file)->metadata().values().contains(key)) << key;
      } else if (value.is_string()) {
        EXPECT_EQ(*(*file)->metadata().String(key), value) << key;
      } else if (value.is_boolean()) {
        EXPECT_EQ((*file)->metadata().Bool(key), value.get<bool>()) << key;
      } else {
        EXPECT_EQ((*file)->metadata().Float(key), value.get<double>()) << key;
      }
    }
  }
  EXPECT_GE(compared, 4);
}

}  // namespace
}  // namespace octet
