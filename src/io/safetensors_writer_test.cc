#include "io/safetensors_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <optional>

#include "io/checkpoint.h"
#include "support/temp_folder.h"

namespace octet {
namespace {

using testing::TempFolder;

std::vector<TensorInfo> Tensors() {
  return {{"embed \"quoted\"", Format::kF32, {4, 2}, 32},
          {"w1", Format::kBf16, {3, 3}, 18},
          {"empty", Format::kF16, {0, 4}, 0},
          {"w2", Format::kF16, {5}, 10},
          {"scalar", Format::kF32, {}, 4}};
}

// The bytes a tensor gets here: a run that depends on its name.
std::vector<std::byte> Content(const TensorInfo& info) {
  std::vector<std::byte> bytes(info.bytes);
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(info.name.size() * 16 + i);
  return bytes;
}

// Appends in pieces of 7 bytes until `stop` tensors are whole (and `extra` bytes of the next).
void Fill(SafetensorsWriter& writer, size_t stop, size_t extra = 0) {
  while (writer.tensors_done() < stop) {
    const auto content = Content(writer.tensors()[writer.tensors_done()]);
    size_t at = 0;
    do {
      const size_t n = std::min<size_t>(7, content.size() - at);
      const Status status = writer.Append(std::span(content).subspan(at, n));
      ASSERT_TRUE(status) << status.error().message;
      at += n;
    } while (at < content.size());
  }
  if (extra > 0) {
    const auto content = Content(writer.tensors()[stop]);
    ASSERT_TRUE(writer.Append(std::span(content).first(extra)));
  }
}

void ExpectWhole(const TempFolder& folder) {
  folder.Write("config.json", "{}");
  const auto checkpoint = OpenCheckpoint(folder.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  ASSERT_EQ(checkpoint->tensors->tensors().size(), Tensors().size());
  for (const TensorInfo& expected : Tensors()) {
    const TensorInfo* const info = checkpoint->tensors->Find(expected.name);
    ASSERT_NE(info, nullptr) << expected.name;
    EXPECT_EQ(info->format, expected.format);
    EXPECT_EQ(info->shape, expected.shape);
    const auto data = checkpoint->tensors->Data(*info);
    ASSERT_TRUE(data) << data.error().message;
    const auto content = Content(expected);
    EXPECT_TRUE(std::equal(data->begin(), data->end(), content.begin(), content.end()))
        << expected.name;
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    EXPECT_NE(entry.path().extension(), ".partial");
    EXPECT_NE(entry.path().filename(), SafetensorsWriter::kProgressName);
  }
}

SafetensorsWriter Create(const TempFolder& folder, const SafetensorsWriterOptions& options) {
  auto writer = SafetensorsWriter::Create(folder.path(), Tensors(), options);
  if (!writer) throw std::runtime_error(writer.error().message);
  return *std::move(writer);
}

TEST(SafetensorsWriter, WritesOneFileThatReadsBack) {
  TempFolder folder;
  {
    SafetensorsWriter writer = Create(folder, {});
    Fill(writer, 5);
    EXPECT_EQ(writer.bytes_done(), writer.bytes_total());
    const Status status = writer.Commit();
    ASSERT_TRUE(status) << status.error().message;
  }
  EXPECT_TRUE(std::filesystem::exists(folder / "model.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(folder / "model.safetensors.index.json"));
  ExpectWhole(folder);
}

TEST(SafetensorsWriter, ClosesAShardBeforeItGrowsTooLarge) {
  TempFolder folder;
  SafetensorsWriter writer = Create(folder, {.max_shard_bytes = 20});
  Fill(writer, 5);
  ASSERT_TRUE(writer.Commit());
  // 32 | 18 + 0 | 10 + 4
  EXPECT_TRUE(std::filesystem::exists(folder / "model-00003-of-00003.safetensors"));
  EXPECT_TRUE(std::filesystem::exists(folder / "model.safetensors.index.json"));
  ExpectWhole(folder);
}

// Interrupted after each tensor, or in the middle of the next.
TEST(SafetensorsWriter, ContinuesAfterTheLastWholeTensor) {
  for (const uint64_t max_shard_bytes : {20u, 1000u}) {
    for (size_t stop = 0; stop < 5; ++stop) {
      TempFolder folder;
      const SafetensorsWriterOptions options = {.max_shard_bytes = max_shard_bytes,
                                                .resume_key = "source 1"};
      {
        SafetensorsWriter writer = Create(folder, options);
        Fill(writer, stop, stop % 2);
      }
      SafetensorsWriter writer = Create(folder, options);
      EXPECT_EQ(writer.tensors_done(), stop) << max_shard_bytes;
      Fill(writer, 5);
      ASSERT_TRUE(writer.Commit());
      ExpectWhole(folder);
    }
  }
}

TEST(SafetensorsWriter, StartsAgainWhenTheSourceOrTheFilesAreOthers) {
  const SafetensorsWriterOptions options = {.max_shard_bytes = 20, .resume_key = "source 1"};
  const auto interrupted_then = [&](auto change, const SafetensorsWriterOptions& next) {
    TempFolder folder;
    {
      SafetensorsWriter writer = Create(folder, options);
      Fill(writer, 4);
    }
    change(folder);
    SafetensorsWriter writer = Create(folder, next);
    const size_t done = writer.tensors_done();
    Fill(writer, 5);
    EXPECT_TRUE(writer.Commit());
    ExpectWhole(folder);
    return done;
  };
  const auto nothing = [](const TempFolder&) {};
  EXPECT_EQ(interrupted_then(nothing, options), 4u);
  SafetensorsWriterOptions other = options;
  other.resume_key = "source 2";
  EXPECT_EQ(interrupted_then(nothing, other), 0u);
  other = options;
  other.metadata["format"] = "np";
  EXPECT_EQ(interrupted_then(nothing, other), 0u);
  const auto cut_partial = [](const TempFolder& folder) {
    std::filesystem::resize_file(folder / "model-00003-of-00003.safetensors.partial", 100);
  };
  EXPECT_EQ(interrupted_then(cut_partial, options), 3u);
  const auto cut_second = [](const TempFolder& folder) {
    std::filesystem::resize_file(folder / "model-00002-of-00003.safetensors", 100);
  };
  EXPECT_EQ(interrupted_then(cut_second, options), 1u);
  const auto no_note = [](const TempFolder& folder) {
    folder.Write(SafetensorsWriter::kProgressName, "{\"key\":3");
  };
  EXPECT_EQ(interrupted_then(no_note, options), 0u);
}

TEST(SafetensorsWriter, LeavesAFinishedModelAloneUnlessToldOtherwise) {
  TempFolder folder;
  folder.Write("model.safetensors", "precious");
  auto refused = SafetensorsWriter::Create(folder.path(), Tensors());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(refused.error().message.find("already holds model.safetensors"), std::string::npos);
  SafetensorsWriter writer = Create(folder, {.max_shard_bytes = 20, .overwrite = true});
  Fill(writer, 5);
  ASSERT_TRUE(writer.Commit());
  EXPECT_FALSE(std::filesystem::exists(folder / "model.safetensors"));
  ExpectWhole(folder);
}

TEST(SafetensorsWriter, RefusesWhatTheFormatCannotHold) {
  TempFolder folder;
  const auto refuse = [&](TensorInfo second, ErrorCode code) {
    const auto writer =
        SafetensorsWriter::Create(folder.path(), {{"a", Format::kF32, {1}, 4}, std::move(second)});
    ASSERT_FALSE(writer);
    EXPECT_EQ(writer.error().code, code) << writer.error().message;
  };
  refuse({"q", Format::kQ4_K, {256}, 144}, ErrorCode::kUnsupported);
  refuse({"a", Format::kF32, {1}, 4}, ErrorCode::kInvalidArgument);
  refuse({"b", Format::kF32, {2}, 4}, ErrorCode::kInvalidArgument);
  refuse({"__metadata__", Format::kF32, {1}, 4}, ErrorCode::kInvalidArgument);
}

TEST(SafetensorsWriter, RefusesTooManyAndTooFewBytes) {
  TempFolder folder;
  SafetensorsWriter writer = Create(folder, {});
  Fill(writer, 3);
  EXPECT_FALSE(writer.Commit());
  EXPECT_FALSE(writer.Append(std::vector<std::byte>(11)));
  Fill(writer, 5);
  EXPECT_FALSE(writer.Append(std::vector<std::byte>(1)));
  EXPECT_TRUE(writer.Commit());
}

}  // namespace
}  // namespace octet
