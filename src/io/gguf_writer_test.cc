#include "io/gguf_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/mapped_file.h"
#include "io/gguf.h"
#include "io/gguf_split.h"
#include "quant/panel16.h"
#include "support/temp_folder.h"

namespace octet {
namespace {

using ::testing::HasSubstr;

std::vector<std::byte> Pattern(uint64_t n, int seed) {
  std::vector<std::byte> bytes(n);
  for (uint64_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(i * 7 + seed);
  return bytes;
}

const std::vector<TensorInfo> kTensors = {{"a.weight", Format::kF32, {2, 4}, 32},
                                          {"b.weight", Format::kQ4_0, {3, 32}, 54},
                                          {"c.weight", Format::kF16, {5}, 10}};

GgufMetadata SomeMetadata() {
  GgufMetadata metadata;
  metadata.values()["general.architecture"] = std::string("llama");
  metadata.values()["llama.block_count"] = uint64_t{2};
  metadata.values()["big"] = uint64_t{1} << 40;
  metadata.values()["f"] = 0.5;
  metadata.values()["names"] = std::vector<std::string>{"x", "", "y"};
  metadata.values()["kinds"] = std::vector<int64_t>{1, -2};
  metadata.values()["scores"] = std::vector<double>{0.25, -1};
  metadata.values()["flags"] = std::vector<bool>{true, false};
  metadata.Set("split.no", uint64_t{0}, GgufType::kUint16);
  return metadata;
}

void Write(GgufWriter& writer, size_t end) {
  for (size_t i = writer.tensors_done(); i < end; ++i) {
    const auto bytes = Pattern(kTensors[i].bytes, static_cast<int>(i));
    ASSERT_TRUE(writer.Append(std::span(bytes).first(7)));
    ASSERT_TRUE(writer.Append(std::span(bytes).subspan(7)));
  }
}

std::string Content(const std::filesystem::path& path) { return *ReadTextFile(path); }

TEST(GgufWriter, WritesWhatTheReaderGivesBack) {
  const testing::TempFolder folder;
  const auto path = folder / "m.gguf";
  const GgufMetadata metadata = SomeMetadata();
  auto writer = GgufWriter::Create(path, metadata, kTensors, false);
  ASSERT_TRUE(writer) << writer.error().message;
  Write(*writer, 3);
  ASSERT_TRUE(writer->Commit());
  EXPECT_FALSE(std::filesystem::exists(AtomicFileWriter::PartialPath(path)));

  const auto file = OpenGguf(path);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ((*file)->metadata().values(), metadata.values());
  EXPECT_EQ((*file)->metadata().TypeOf("split.no"), GgufType::kUint16);
  EXPECT_EQ((*file)->metadata().TypeOf("big"), GgufType::kUint64);
  EXPECT_EQ((*file)->metadata().TypeOf("kinds"), GgufType::kInt32);
  ASSERT_EQ((*file)->tensors().size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const TensorInfo& info = (*file)->tensors()[i];
    EXPECT_EQ(info.name, kTensors[i].name);
    EXPECT_EQ(info.shape, kTensors[i].shape);
    const auto data = *(*file)->Data(info);
    EXPECT_TRUE(std::ranges::equal(data, Pattern(info.bytes, static_cast<int>(i)))) << info.name;
  }
}

TEST(GgufWriter, ResumesToTheSameBytesFromAnyLengthOfThePartialFile) {
  const testing::TempFolder folder;
  const auto path = folder / "m.gguf";
  const auto partial = AtomicFileWriter::PartialPath(path);
  auto writer = GgufWriter::Create(path, SomeMetadata(), kTensors, false);
  ASSERT_TRUE(writer);
  Write(*writer, 3);
  ASSERT_TRUE(writer->Commit());
  const std::string whole = Content(path);

  for (size_t length = 0; length <= whole.size(); length += 13) {
    std::filesystem::remove(path);
    std::ofstream(partial, std::ios::binary) << whole.substr(0, length);
    auto resumed = GgufWriter::Create(path, SomeMetadata(), kTensors, true);
    ASSERT_TRUE(resumed) << resumed.error().message;
    Write(*resumed, 3);
    ASSERT_TRUE(resumed->Commit());
    ASSERT_EQ(Content(path), whole) << "from " << length << " bytes";
  }
}

TEST(GgufWriter, KeepsThePartialFileWhenStoppedAndRefusesToMixModels) {
  const testing::TempFolder folder;
  const auto path = folder / "m.gguf";
  {
    auto writer = GgufWriter::Create(path, SomeMetadata(), kTensors, false);
    ASSERT_TRUE(writer);
    Write(*writer, 2);
    EXPECT_EQ(writer->Commit().error().code, ErrorCode::kInternal);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  GgufMetadata other = SomeMetadata();
  other.values()["general.name"] = std::string("another");
  const auto mixed = GgufWriter::Create(path, other, kTensors, true);
  ASSERT_FALSE(mixed);
  EXPECT_THAT(mixed.error().message, HasSubstr("another model"));
  const auto resumed = GgufWriter::Create(path, SomeMetadata(), kTensors, true);
  ASSERT_TRUE(resumed);
  EXPECT_EQ(resumed->tensors_done(), 2u);
}

/// Three parts with one tensor each, as gguf-split lays them out.
std::filesystem::path WriteSplitSet(const std::filesystem::path& folder) {
  const gguf::SplitName name{folder / "m", 1, 3};
  for (int i = 0; i < 3; ++i) {
    GgufMetadata metadata;
    if (i == 0) metadata = SomeMetadata();
    metadata.Set("split.no", static_cast<uint64_t>(i), GgufType::kUint16);
    metadata.Set("split.count", uint64_t{3}, GgufType::kUint16);
    metadata.Set("split.tensors.count", int64_t{3}, GgufType::kInt32);
    auto writer = GgufWriter::Create(name.Path(i + 1), metadata, {kTensors[i]}, false);
    EXPECT_TRUE(writer->Append(Pattern(kTensors[i].bytes, i)));
    EXPECT_TRUE(writer->Commit());
  }
  return name.Path(1);
}

TEST(GgufSplit, AnyPartOpensAll) {
  const testing::TempFolder folder;
  const auto first = WriteSplitSet(folder.path());
  EXPECT_EQ(first.filename(), "m-00001-of-00003.gguf");
  for (int i = 1; i <= 3; ++i) {
    const auto file = OpenGguf(gguf::ParseSplitName(first)->Path(i));
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(*(*file)->metadata().String("general.architecture"), "llama");
    ASSERT_EQ((*file)->tensors().size(), 3u);
    for (size_t t = 0; t < 3; ++t) {
      const auto data = (*file)->Data((*file)->tensors()[t]);
      EXPECT_TRUE(std::ranges::equal(*data, Pattern(kTensors[t].bytes, static_cast<int>(t))));
    }
  }
}

TEST(GgufSplit, NamesMissingPartsAndReadsTheOtherHeaders) {
  const testing::TempFolder folder;
  const auto first = WriteSplitSet(folder.path());
  std::filesystem::remove(gguf::ParseSplitName(first)->Path(2));
  const auto file = OpenGguf(first);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(file.error().message, HasSubstr("m-00002-of-00003.gguf"));
  const auto headers = OpenGguf(first, OpenMode::kHeadersOnly);
  ASSERT_TRUE(headers) << headers.error().message;
  EXPECT_THAT((*headers)->missing_files(), ::testing::ElementsAre("m-00002-of-00003.gguf"));
  EXPECT_EQ((*headers)->tensors().size(), 2u);
}

TEST(GgufSplit, RefusesRenamedParts) {
  const testing::TempFolder folder;
  const auto first = WriteSplitSet(folder.path());
  const auto third = gguf::ParseSplitName(first)->Path(3);
  const auto odd = first.parent_path() / "model.gguf";
  std::filesystem::copy_file(first, odd);
  EXPECT_THAT(OpenGguf(odd).error().message, HasSubstr("-of-00003"));
  std::filesystem::copy_file(first, third, std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(OpenGguf(first).error().message, HasSubstr("3 of 3 by its name"));
}

TEST(GgufSplit, ParsesOnlyNamesOfThatForm) {
  EXPECT_EQ(gguf::ParseSplitName("d/x-00002-of-00010.gguf")->prefix, "d/x");
  EXPECT_EQ(gguf::ParseSplitName("d/x-00002-of-00010.gguf")->number, 2);
  EXPECT_FALSE(gguf::ParseSplitName("x-00011-of-00010.gguf"));
  EXPECT_FALSE(gguf::ParseSplitName("x-0002-of-0010.gguf"));
  EXPECT_FALSE(gguf::ParseSplitName("x-00002-of-00010.bin"));
  EXPECT_FALSE(gguf::ParseSplitName("-00002-of-00010.gguf"));
}

TEST(GgufWriter, StoresPackedMatricesAtPagesInATypeOfTheirOwn) {
  GgufMetadata metadata = SomeMetadata();
  metadata.values()[kPackedLayoutsKey] = std::vector<std::string>{"rows", "panel16.1"};
  std::vector<TensorInfo> tensors = kTensors;
  tensors[1].layout = Layout::kPanel16;
  tensors[1].bytes = static_cast<uint64_t>(Panel16Bytes(Format::kQ4_0, 3, 32));
  std::string bytes = EncodeGgufHeader(metadata, tensors);
  const size_t type_at = bytes.find(std::string("\x02\x01\x43\x4f", 4));  // Q4_0, layout 1, OC
  ASSERT_NE(type_at, std::string::npos);
  for (const TensorInfo& info : tensors)
    bytes.resize(bytes.size() + GgufPaddedBytes(info.bytes, 4096));
  const auto file = ParseGguf(std::as_bytes(std::span(bytes)), "m.packed");
  ASSERT_TRUE(file) << file.error().message;
  const TensorInfo* info = (*file)->Find("b.weight");
  EXPECT_EQ(info->layout, Layout::kPanel16);
  EXPECT_EQ(info->bytes, tensors[1].bytes);
  EXPECT_EQ((*file)->Find("a.weight")->layout, Layout::kRowMajor);
  EXPECT_EQ(((*file)->Data(*info)->data() - std::as_bytes(std::span(bytes)).data()) % 4096, 0);

  bytes[type_at + 1] = 7;
  const auto no_layout = ParseGguf(std::as_bytes(std::span(bytes)), "m.packed");
  ASSERT_FALSE(no_layout);
  EXPECT_THAT(no_layout.error().message, HasSubstr("layout 7"));
  bytes[type_at + 1] = 1;
  bytes[type_at] = 0;  // F32 has no panels
  const auto wrong = ParseGguf(std::as_bytes(std::span(bytes)), "m.packed");
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message, HasSubstr("cannot be in layout panel16.1"));
}

}  // namespace
}  // namespace octet
