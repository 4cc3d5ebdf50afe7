#include "io/npy.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace octet {
namespace {

class Npy : public ::testing::Test {
 protected:
  std::filesystem::path path_ = std::filesystem::path(::testing::TempDir()) / "octet_npy_test.npy";
  void TearDown() override { std::filesystem::remove(path_); }
};

TEST_F(Npy, WhatIsWrittenIsRead) {
  auto writer = NpyWriter::Create(path_, NpyWriter::Type::kFloat32, {2, 3});
  ASSERT_TRUE(writer);
  const float rows[] = {1, 2, 3, 4, 5, 6};
  ASSERT_TRUE(writer->Append(std::span(rows, 4)));
  ASSERT_TRUE(writer->Append(std::span(rows + 4, 2)));
  EXPECT_FALSE(std::filesystem::exists(path_));
  ASSERT_TRUE(writer->Finish());
  const auto array = ReadNpy(path_);
  ASSERT_TRUE(array);
  EXPECT_EQ(array->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(array->floats, std::vector<float>(rows, rows + 6));
  // The format asks for data at a multiple of 64 bytes.
  EXPECT_EQ((std::filesystem::file_size(path_) - 24) % 64, 0u);
}

TEST_F(Npy, OneDimensionHasItsComma) {
  auto writer = NpyWriter::Create(path_, NpyWriter::Type::kInt32, {2});
  const int32_t ids[] = {7, 8};
  ASSERT_TRUE(writer->Append(std::span(ids)));
  ASSERT_TRUE(writer->Finish());
  EXPECT_EQ(ReadNpy(path_)->ints, (std::vector<int32_t>{7, 8}));
  EXPECT_NE(ReadTextFile(path_)->find("(2,)"), std::string::npos);
}

TEST_F(Npy, TooFewValuesLeaveNoFile) {
  {
    auto writer = NpyWriter::Create(path_, NpyWriter::Type::kInt32, {2});
    EXPECT_EQ(writer->Finish().error().code, ErrorCode::kInternal);
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_FALSE(std::filesystem::exists(AtomicFileWriter::PartialPath(path_)));
}

}  // namespace
}  // namespace octet
