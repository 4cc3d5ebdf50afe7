#include "train/event_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "support/temp_folder.h"

namespace octet {
namespace {

std::string Hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<uint8_t>(c));
  return out;
}

TEST(EventFile, RecordsHaveTensorBoardsFraming) {
  // CRC-32C("123456789") = e3069283 (the standard's check value); masked: rotated right by 15, plus
  // a282ead8, modulo 2^32: e3069283 >> 15 | e3069283 << 17 = 2507c60d; + a282ead8 = c78ab0e5.
  const std::string record = TfRecord("123456789");
  ASSERT_EQ(record.size(), 8u + 4 + 9 + 4);
  EXPECT_EQ(Hex(record.substr(0, 8)), "0900000000000000");
  EXPECT_EQ(record.substr(12, 9), "123456789");
  EXPECT_EQ(Hex(record.substr(21)), "e5b08ac7");
}

TEST(EventFile, AnEventOfOneScalarIsTheseBytes) {
  const std::vector<Scalar> scalars = {{"loss", 1.5}};
  // wall_time 1.0; step 300: varint ac02; summary {value {tag "loss", 1.5f}}.
  EXPECT_EQ(Hex(ScalarEvent(1.0, 300, scalars)),
            "09000000000000f03f"
            "10ac02"
            "2a0d"
            "0a0b"
            "0a046c6f7373"
            "150000c03f");
}

TEST(EventFile, BeginsWithItsVersionAndGrows) {
  testing::TempFolder folder;
  const auto path = folder.path() / "events.out.tfevents.0.octet";
  auto events = EventFile::Create(path);
  ASSERT_TRUE(events);
  const auto empty = std::filesystem::file_size(path);
  const std::vector<Scalar> scalars = {{"a", 1}, {"b", 2}};
  ASSERT_TRUE(events->Append(3, 1, scalars));
  std::ifstream file(path, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  EXPECT_NE(bytes.find("brain.Event:2"), std::string::npos);
  EXPECT_EQ(bytes.substr(empty), TfRecord(ScalarEvent(3, 1, scalars)));
}

}  // namespace
}  // namespace octet
