#include "io/torch_checkpoint.h"

#include <gtest/gtest.h>

#include <string>

#include "support/damage.h"
#include "support/torch_file.h"

namespace octet {
namespace {

using testing::Raw;
using testing::TorchFile;
namespace pickle = testing::pickle;

std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

Status Parse(MappedTensors& into, std::string_view file, OpenMode mode = OpenMode::kFull) {
  return AddTorchCheckpoint(into, Bytes(file), "test.pth", mode);
}

void ExpectError(const std::string& file, ErrorCode code, const std::string& message) {
  MappedTensors tensors;
  const Status status = Parse(tensors, file);
  ASSERT_FALSE(status) << message;
  EXPECT_EQ(status.error().code, code) << status.error().message;
  EXPECT_NE(status.error().message.find(message), std::string::npos) << status.error().message;
}

std::string Floats(int n) {
  std::string bytes;
  for (int i = 0; i < n; ++i) bytes += Raw(static_cast<float>(i));
  return bytes;
}

// Two tensors: six floats, and rows 2 and 3 of the same storage taken as 2 x 2.
std::string Good() {
  return TorchFile(
      pickle::Dict({{"w", pickle::Tensor("FloatStorage", "0", 8, {2, 3}, {3, 1})},
                    {"part", pickle::Tensor("FloatStorage", "0", 8, {2, 2}, {2, 1}, 4)},
                    {"step", pickle::Int(7)},
                    {"half", pickle::Tensor("BFloat16Storage", "1", 3, {1, 3}, {99, 1})}}),
      {Floats(8), "abcdef"});
}

TEST(TorchCheckpoint, MapsViewsOfStorages) {
  const std::string file = Good();
  MappedTensors tensors;
  const Status status = Parse(tensors, file);
  ASSERT_TRUE(status) << status.error().message;
  ASSERT_EQ(tensors.tensors().size(), 3u);  // "step" is no tensor
  const TensorInfo* const part = tensors.Find("part");
  ASSERT_NE(part, nullptr);
  EXPECT_EQ(part->shape, (std::vector<int64_t>{2, 2}));
  const auto data = tensors.Data(*part);
  ASSERT_TRUE(data);
  EXPECT_EQ(data->size(), 16u);
  EXPECT_EQ(*reinterpret_cast<const float*>(data->data()), 4.0f);
  // The stride of a dimension of one element does not matter.
  const auto half = tensors.Data(*tensors.Find("half"));
  ASSERT_TRUE(half);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(half->data()), half->size()), "abcdef");
}

TEST(TorchCheckpoint, ReadsParametersAttributesAndTorch2Types) {
  const std::string parameter = pickle::Call("torch._utils", "_rebuild_parameter") + "(" +
                                pickle::Tensor("HalfStorage", "0", 2, {2}, {1}) + "\x88" +
                                pickle::Call("collections", "OrderedDict") + ")RtR";
  const std::string v3 =
      pickle::Call("torch._utils", "_rebuild_tensor_v3") + "((" + pickle::Text("storage") +
      pickle::Call("torch.storage", "UntypedStorage") + pickle::Text("0") + pickle::Text("cpu") +
      pickle::Int(4) + "tQ" + pickle::Int(0) + pickle::Tuple({2}) + pickle::Tuple({1}) + "\x89" +
      pickle::Call("collections", "OrderedDict") + ")R" + pickle::Call("torch", "bfloat16") + "tR";
  // What state_dict() gives: an OrderedDict with an attribute.
  const std::string state = "\x80\x02" + pickle::Call("collections", "OrderedDict") + ")R(" +
                            pickle::Text("p") + parameter + pickle::Text("v3") + v3 + "u}" +
                            pickle::Text("_metadata") + "}sb.";
  const std::string file = TorchFile(state, {"abcd"});
  MappedTensors tensors;
  const Status status = Parse(tensors, file);
  ASSERT_TRUE(status) << status.error().message;
  ASSERT_EQ(tensors.tensors().size(), 2u);
  EXPECT_EQ(tensors.Find("p")->format, Format::kF16);
  EXPECT_EQ(tensors.Find("v3")->format, Format::kBf16);
}

TEST(TorchCheckpoint, ExecutesNothingAndNamesWhatWasAskedFor) {
  const std::string evil =
      "\x80\x02" + pickle::Call("os", "system") + "(" + pickle::Text("touch /tmp/pwned") + "tR.";
  ExpectError(TorchFile(evil, {}), ErrorCode::kUnsupported, "asks for os.system");
  const std::string build = "\x80\x02" + pickle::Call("builtins", "eval") + ")R.";
  ExpectError(TorchFile(build, {}), ErrorCode::kUnsupported, "asks for builtins.eval");
  ExpectError(TorchFile("\x80\x02\x81.", {}), ErrorCode::kUnsupported, "opcode 0x81");  // NEWOBJ
  ExpectError(TorchFile("\x80\x04.", {}), ErrorCode::kUnsupported, "protocol 4");
}

TEST(TorchCheckpoint, RefusesWrongViews) {
  const auto one = [](const std::string& tensor) {
    return TorchFile(pickle::Dict({{"w", tensor}}), {Floats(6)});
  };
  ExpectError(one(pickle::Tensor("FloatStorage", "0", 6, {3, 2}, {1, 3})), ErrorCode::kUnsupported,
              "w has strides [1, 3] for shape [3, 2]");
  ExpectError(one(pickle::Tensor("FloatStorage", "0", 6, {6}, {1}, 1)), ErrorCode::kCorrupt,
              "starts at element 1");
  ExpectError(one(pickle::Tensor("FloatStorage", "0", 7, {6}, {1})), ErrorCode::kCorrupt,
              "has 24 bytes, expected 28");
  ExpectError(one(pickle::Tensor("FloatStorage", "9", 6, {6}, {1})), ErrorCode::kCorrupt,
              "storage 9");
  ExpectError(one(pickle::Tensor("FloatStorage", "0", 6, {6, 1}, {1})), ErrorCode::kCorrupt,
              "rank");
  ExpectError(one(pickle::Tensor("FloatStorage", "0", 6, {-6}, {1})), ErrorCode::kCorrupt,
              "dimension");
  ExpectError(
      one(pickle::Tensor("FloatStorage", "0", 6, {2000000000, 2000000000, 2000000000}, {1, 1, 1})),
      ErrorCode::kCorrupt, "impossible");
  ExpectError(one(pickle::Tensor("DoubleStorage", "0", 3, {3}, {1})), ErrorCode::kUnsupported,
              "float64");
}

TEST(TorchCheckpoint, SkipsIntegersAndHeadersOnlySkipsStrides) {
  const std::string file =
      TorchFile(pickle::Dict({{"ids", pickle::Tensor("LongStorage", "0", 1, {1}, {1})},
                              {"t", pickle::Tensor("HalfStorage", "0", 4, {2, 2}, {1, 2})}}),
                {"12345678"});
  MappedTensors tensors;
  const Status status = Parse(tensors, file, OpenMode::kHeadersOnly);
  ASSERT_TRUE(status) << status.error().message;
  ASSERT_EQ(tensors.skipped().size(), 2u);
  EXPECT_EQ(tensors.skipped()[0].why, "type int64");
  EXPECT_EQ(tensors.skipped()[1].why, "strides [1, 2] for shape [2, 2]");
}

TEST(TorchCheckpoint, RefusesWrongPickles) {
  const auto raw = [](const std::string& body) { return TorchFile("\x80\x02" + body, {}); };
  ExpectError(raw("N."), ErrorCode::kCorrupt, "dictionary");
  ExpectError(raw("}."), ErrorCode::kUnsupported, "no tensors");
  ExpectError(raw("."), ErrorCode::kCorrupt, "dictionary");
  ExpectError(raw("}(Nu."), ErrorCode::kCorrupt, "key without a value");
  ExpectError(raw("t."), ErrorCode::kCorrupt, "no mark");
  ExpectError(raw("(\x87."), ErrorCode::kCorrupt, "underflow");
  ExpectError(raw("h\x05."), ErrorCode::kCorrupt, "memo");
  ExpectError(raw("NNR."), ErrorCode::kCorrupt, "no function");
  ExpectError(raw("X\xff\xff\xff\xff."), ErrorCode::kCorrupt, "string");
  ExpectError(raw(std::string("\x8a\x09") + std::string(9, 'x') + "."), ErrorCode::kCorrupt,
              "64 bits");
  ExpectError(raw(std::string(1u << 21, ')') + "."), ErrorCode::kCorrupt, "more values");
  ExpectError(raw("(" + pickle::Text("storage") + "tQ."), ErrorCode::kCorrupt, "description");
}

TEST(TorchCheckpoint, RefusesArchivesThatAreNotTorchs) {
  ExpectError("", ErrorCode::kCorrupt, "expected a zip archive");
  ExpectError("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9 and so on", ErrorCode::kUnsupported,
              "before version 1.6");
  testing::ZipBuilder zip;
  zip.Add("notes.txt", "hello");
  ExpectError(zip.Finish(), ErrorCode::kUnsupported, "without data.pkl");
  testing::ZipBuilder compressed;
  compressed.Add("archive/data.pkl", "}.", 8);
  ExpectError(compressed.Finish(), ErrorCode::kUnsupported, "compressed");
  ExpectError(TorchFile(pickle::Dict({}), {}, "big"), ErrorCode::kUnsupported, "byte order");
  std::string flipped = Good();
  flipped[flipped.find("part")] = 'P';  // a changed tensor name fails the checksum
  ExpectError(flipped, ErrorCode::kCorrupt, "checksum");
}

TEST(TorchCheckpoint, SurvivesDamage) {
  const std::string file = Good();
  const auto parse = [](std::span<const std::byte> bytes) {
    MappedTensors tensors;
    if (!AddTorchCheckpoint(tensors, bytes, "damaged", OpenMode::kFull)) return false;
    testing::TouchAll(tensors);
    return true;
  };
  testing::ExpectTruncationsRefused(file, parse);
  testing::SurviveByteFlips(file, file.size(), 1000, 20240117, parse);
}

// The checksum hides the interpreter from byte flips: damage the pickle alone.
TEST(TorchCheckpoint, SurvivesDamagedPickles) {
  const std::string good =
      pickle::Dict({{"w", pickle::Tensor("FloatStorage", "0", 8, {2, 3}, {3, 1})},
                    {"v", pickle::Tensor("HalfStorage", "0", 16, {4}, {1}, 4)}});
  const auto parse = [](std::span<const std::byte> bytes) {
    const std::string file = TorchFile(
        std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), {Floats(8)});
    MappedTensors tensors;
    if (!Parse(tensors, file)) return false;
    testing::TouchAll(tensors);
    return true;
  };
  ASSERT_TRUE(parse(Bytes(good)));
  testing::ExpectTruncationsRefused(good, parse);
  testing::SurviveByteFlips(good, good.size(), 1000, 20240118, parse);
}

}  // namespace
}  // namespace octet
