#include "train/event_file.h"

#include <array>
#include <bit>
#include <cstring>

namespace octet {
namespace {

/// CRC-32C (Castagnoli), reflected, as RFC 3720 has it.
uint32_t Crc32c(std::string_view data) {
  static constexpr auto kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
      table[i] = crc;
    }
    return table;
  }();
  uint32_t crc = ~0u;
  for (const char c : data) crc = crc >> 8 ^ kTable[(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return ~crc;
}

/// As TFRecords store it, so that a checksum of data that holds checksums is no special case.
uint32_t Masked(uint32_t crc) { return std::rotr(crc, 15) + 0xa282ead8u; }

template <class T>
void AppendLittleEndian(std::string& out, T value) {
  std::array<char, sizeof(T)> bytes;
  std::memcpy(bytes.data(), &value, sizeof(T));
  out.append(bytes.data(), bytes.size());
}

void AppendVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

// Protocol buffers' wire types.
enum : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void AppendKey(std::string& out, uint32_t field, uint32_t type) {
  AppendVarint(out, field << 3 | type);
}
void AppendBytes(std::string& out, uint32_t field, std::string_view bytes) {
  AppendKey(out, field, kBytes);
  AppendVarint(out, bytes.size());
  out += bytes;
}

}  // namespace

std::string TfRecord(std::string_view data) {
  std::string record;
  AppendLittleEndian(record, static_cast<uint64_t>(data.size()));
  AppendLittleEndian(record, Masked(Crc32c(record)));
  record += data;
  AppendLittleEndian(record, Masked(Crc32c(data)));
  return record;
}

std::string ScalarEvent(double wall_time, int64_t step, std::span<const Scalar> scalars) {
  std::string summary;
  for (const Scalar& scalar : scalars) {
    std::string value;
    AppendBytes(value, 1, scalar.tag);
    AppendKey(value, 2, kFixed32);
    AppendLittleEndian(value, static_cast<float>(scalar.value));
    AppendBytes(summary, 1, value);
  }
  std::string event;
  AppendKey(event, 1, kFixed64);
  AppendLittleEndian(event, wall_time);
  AppendKey(event, 2, kVarint);
  AppendVarint(event, static_cast<uint64_t>(step));
  AppendBytes(event, 5, summary);
  return event;
}

Result<EventFile> EventFile::Create(const std::filesystem::path& path) {
  EventFile events(path);
  events.file_.open(path, std::ios::binary | std::ios::trunc);
  std::string version;
  AppendKey(version, 1, kFixed64);
  AppendLittleEndian(version, 0.0);
  AppendBytes(version, 3, "brain.Event:2");
  events.file_ << TfRecord(version) << std::flush;
  if (!events.file_) return Err(ErrorCode::kIo, "{}: cannot be written", path.string());
  return events;
}

Status EventFile::Append(double wall_time, int64_t step, std::span<const Scalar> scalars) {
  file_ << TfRecord(ScalarEvent(wall_time, step, scalars)) << std::flush;
  if (!file_) return Err(ErrorCode::kIo, "{}: cannot be written", path_.string());
  return {};
}

}  // namespace octet
