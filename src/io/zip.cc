// Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 (records) and 4.5.3 (zip64 extra field).
#include "io/zip.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/file.h"

namespace octet {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kCentralHeader = 0x02014b50;
constexpr uint32_t kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50;
constexpr uint32_t kEnd64Locator = 0x07064b50;
constexpr uint64_t kEndBytes = 22;
constexpr uint64_t kEnd64LocatorBytes = 20;
constexpr uint64_t kCentralHeaderBytes = 46;
constexpr uint64_t kLocalHeaderBytes = 30;
constexpr uint32_t kIn64 = 0xffffffff;  // "see the zip64 record"

template <class T>
T Get(std::span<const std::byte> bytes, uint64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

struct Directory {
  uint64_t entries = 0;
  uint64_t bytes = 0;
  uint64_t offset = 0;
};

// The end record is the last 22 bytes, or earlier by a comment of up to 65535.
Result<uint64_t> FindEnd(std::span<const std::byte> archive, std::string_view where) {
  if (archive.size() >= kEndBytes) {
    const uint64_t last = archive.size() - kEndBytes;
    const uint64_t first = last - std::min<uint64_t>(last, 0xffff);
    for (uint64_t at = last + 1; at-- > first;) {
      if (Get<uint32_t>(archive, at) == kEnd &&
          Get<uint16_t>(archive, at + 20) == archive.size() - at - kEndBytes)
        return at;
    }
  }
  return Err(ErrorCode::kCorrupt,
             "{}: no end-of-directory record in its last bytes; the file is truncated", where);
}

Result<Directory> FindDirectory(std::span<const std::byte> archive, std::string_view where) {
  OCTET_ASSIGN(const uint64_t end, FindEnd(archive, where));
  Directory directory = {Get<uint16_t>(archive, end + 10), Get<uint32_t>(archive, end + 12),
                         Get<uint32_t>(archive, end + 16)};
  if (end >= kEnd64LocatorBytes &&
      Get<uint32_t>(archive, end - kEnd64LocatorBytes) == kEnd64Locator) {
    ByteReader reader(archive, where);
    OCTET_TRY(reader.Seek(Get<uint64_t>(archive, end - kEnd64LocatorBytes + 8), "zip64 record"));
    OCTET_ASSIGN(const auto record, reader.Take(56, "zip64 record"));
    if (Get<uint32_t>(record, 0) != kEnd64) {
      return Err(ErrorCode::kCorrupt, "{}: zip64 record has a wrong signature", where);
    }
    directory = {Get<uint64_t>(record, 32), Get<uint64_t>(record, 40), Get<uint64_t>(record, 48)};
  }
  if (directory.offset > archive.size() || directory.bytes > archive.size() - directory.offset ||
      directory.entries > directory.bytes / kCentralHeaderBytes) {
    return Err(
        ErrorCode::kCorrupt,
        "{}: the directory is said to be {} entries in {} bytes at {}, the file has {} bytes",
        where, directory.entries, directory.bytes, directory.offset, archive.size());
  }
  return directory;
}

struct CentralRecord {
  ZipEntry entry;
  uint64_t stored_bytes = 0;
  uint64_t local_header = 0;
};

// Replaces the sizes that did not fit 32 bits by those of the zip64 extra field, in its fixed
// order: content, stored, offset; each present only when its 32-bit field is all ones.
Status ReadZip64(std::span<const std::byte> extra, CentralRecord& record, std::string_view where) {
  ByteReader fields(extra, where);
  while (fields.remaining() >= 4) {
    OCTET_ASSIGN(const auto id, fields.Read<uint16_t>("extra field"));
    OCTET_ASSIGN(const auto bytes, fields.Read<uint16_t>("extra field"));
    OCTET_ASSIGN(const auto content, fields.Take(bytes, "extra field"));
    if (id != 1) continue;
    ByteReader values(content, where);
    for (uint64_t* const value :
         {&record.entry.bytes, &record.stored_bytes, &record.local_header}) {
      if (*value != kIn64) continue;
      OCTET_ASSIGN(*value, values.Read<uint64_t>("zip64 extra field"));
    }
  }
  return {};
}

// The content starts after the local header, whose name and extra field have lengths of their own
// (torch pads the extra field to align the content).
Status Locate(std::span<const std::byte> archive, std::string_view where, std::string_view name,
              CentralRecord& record) {
  ByteReader reader(archive, where);
  OCTET_TRY(reader.Seek(record.local_header, name));
  OCTET_ASSIGN(const auto header, reader.Take(kLocalHeaderBytes, name));
  if (Get<uint32_t>(header, 0) != kLocalHeader) {
    return Err(ErrorCode::kCorrupt, "{}: {} has no local header at byte {}", where, name,
               record.local_header);
  }
  OCTET_ASSIGN(const auto local_name, reader.Take(Get<uint16_t>(header, 26), name));
  if (std::string_view(reinterpret_cast<const char*>(local_name.data()), local_name.size()) !=
      name) {
    return Err(ErrorCode::kCorrupt, "{}: {} has another name in its local header", where, name);
  }
  OCTET_TRY(reader.Take(Get<uint16_t>(header, 28), name));
  record.entry.offset = reader.offset();
  OCTET_TRY(reader.Take(record.entry.bytes, name));
  return {};
}

Result<std::pair<std::string, ZipEntry>> ReadEntry(std::span<const std::byte> archive,
                                                   ByteReader& central, std::string_view where) {
  OCTET_ASSIGN(const auto header, central.Take(kCentralHeaderBytes, "directory entry"));
  if (Get<uint32_t>(header, 0) != kCentralHeader) {
    return Err(ErrorCode::kCorrupt, "{}: a directory entry has a wrong signature", where);
  }
  OCTET_ASSIGN(const auto raw_name, central.Take(Get<uint16_t>(header, 28), "entry name"));
  OCTET_ASSIGN(const auto extra, central.Take(Get<uint16_t>(header, 30), "extra field"));
  OCTET_TRY(central.Take(Get<uint16_t>(header, 32), "entry comment"));
  std::string name(reinterpret_cast<const char*>(raw_name.data()), raw_name.size());
  CentralRecord record;
  record.entry.crc32 = Get<uint32_t>(header, 16);
  record.stored_bytes = Get<uint32_t>(header, 20);
  record.entry.bytes = Get<uint32_t>(header, 24);
  record.local_header = Get<uint32_t>(header, 42);
  OCTET_TRY(ReadZip64(extra, record, where));
  const bool encrypted = (Get<uint16_t>(header, 8) & 1) != 0;
  if (encrypted || Get<uint16_t>(header, 10) != 0) {
    return Err(ErrorCode::kUnsupported,
               "{}: {} is compressed or encrypted; expected stored entries, as torch.save writes",
               where, name);
  }
  if (record.stored_bytes != record.entry.bytes) {
    return Err(ErrorCode::kCorrupt, "{}: {} has {} bytes but stores {}", where, name,
               record.entry.bytes, record.stored_bytes);
  }
  OCTET_TRY(Locate(archive, where, name, record));
  return std::pair(std::move(name), record.entry);
}

}  // namespace

Result<std::map<std::string, ZipEntry, std::less<>>> ReadZipDirectory(
    std::span<const std::byte> archive, std::string_view where) {
  OCTET_ASSIGN(const Directory directory, FindDirectory(archive, where));
  ByteReader central(archive.subspan(directory.offset, directory.bytes), where);
  std::map<std::string, ZipEntry, std::less<>> entries;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    OCTET_ASSIGN(auto entry, ReadEntry(archive, central, where));
    if (!entries.try_emplace(entry.first, entry.second).second) {
      return Err(ErrorCode::kCorrupt, "{}: has entry {} twice", where, entry.first);
    }
  }
  return entries;
}

}  // namespace octet
