#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "base/file.h"
#include "io/safetensors_header.h"

namespace octet {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation

struct StoredType {
  std::string_view name;
  int bytes;
  bool is_float;
  std::optional<Format> format;  // none: nothing here reads it
};

constexpr std::array kTypes = {
    StoredType{"F32", 4, true, Format::kF32},     StoredType{"F16", 2, true, Format::kF16},
    StoredType{"BF16", 2, true, Format::kBf16},   StoredType{"F64", 8, true, std::nullopt},
    StoredType{"F8_E4M3", 1, true, std::nullopt}, StoredType{"F8_E5M2", 1, true, std::nullopt},
    StoredType{"I64", 8, false, std::nullopt},    StoredType{"I32", 4, false, std::nullopt},
    StoredType{"I16", 2, false, std::nullopt},    StoredType{"I8", 1, false, std::nullopt},
    StoredType{"U64", 8, false, std::nullopt},    StoredType{"U32", 4, false, std::nullopt},
    StoredType{"U16", 2, false, std::nullopt},    StoredType{"U8", 1, false, std::nullopt},
    StoredType{"BOOL", 1, false, std::nullopt},
};

const StoredType* FindType(std::string_view name) {
  const auto found = std::find_if(kTypes.begin(), kTypes.end(),
                                  [&](const StoredType& type) { return type.name == name; });
  return found == kTypes.end() ? nullptr : found;
}

// The header's text, and where the data section starts.
struct Sections {
  std::string_view header;
  uint64_t data_begin = 0;
};

Result<Sections> Split(std::span<const std::byte> bytes, std::string_view where) {
  ByteReader reader(bytes, where);
  OCTET_ASSIGN(const uint64_t header_bytes, reader.Read<uint64_t>("header length"));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with("version https://git-lfs")) {
    return Err(ErrorCode::kCorrupt,
               "{}: a Git LFS pointer, not the file itself; fetch it with \"git lfs pull\"", where);
  }
  if (header_bytes > kMaxHeaderBytes || header_bytes > reader.remaining()) {
    return Err(ErrorCode::kCorrupt,
               "{}: the header is said to take {} bytes, {} follow and {} is the most allowed; not "
               "a safetensors file, or truncated",
               where, header_bytes, reader.remaining(), kMaxHeaderBytes);
  }
  return Sections{text.substr(8, header_bytes), 8 + header_bytes};
}

Status CheckDisjoint(std::vector<SafetensorsEntry>& entries, std::string_view where) {
  std::vector<const SafetensorsEntry*> by_offset;
  by_offset.reserve(entries.size());
  for (const SafetensorsEntry& entry : entries) by_offset.push_back(&entry);
  std::sort(by_offset.begin(), by_offset.end(), [](const auto* a, const auto* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  for (size_t i = 1; i < by_offset.size(); ++i) {
    if (by_offset[i]->begin < by_offset[i - 1]->end) {
      return Err(ErrorCode::kCorrupt, "{}: tensors {} and {} overlap", where,
                 by_offset[i - 1]->name, by_offset[i]->name);
    }
  }
  return {};
}

// The entry's type and byte range agree with its shape and the file.
Status CheckEntry(const SafetensorsEntry& entry, const StoredType& type, uint64_t data_bytes,
                  std::string_view where, OpenMode mode) {
  OCTET_ASSIGN(const uint64_t bytes,
               CheckedBytes(entry.shape, type.bytes, fmt::format("{}: {}", where, entry.name)));
  if (entry.end < entry.begin || entry.end - entry.begin != bytes) {
    return Err(ErrorCode::kCorrupt,
               "{}: {} is {} of {}, which takes {} bytes, but its offsets are [{}, {})", where,
               entry.name, ShapeString(entry.shape), type.name, bytes, entry.begin, entry.end);
  }
  // Headers-only still needs offsets that can be added to without overflow.
  const uint64_t limit = mode == OpenMode::kFull ? data_bytes : uint64_t{1} << 62;
  if (entry.end > limit) {
    return Err(ErrorCode::kCorrupt,
               "{}: {} ends at byte {} of the data, the file has {}; truncated?", where, entry.name,
               entry.end, data_bytes);
  }
  return {};
}

Status AddEntry(MappedTensors& into, SafetensorsEntry& entry, int file, const Sections& sections,
                OpenMode mode) {
  const std::string& where = into.file_name(file);
  const StoredType* const type = FindType(entry.dtype);
  if (type == nullptr || !type->format) {
    if (mode == OpenMode::kHeadersOnly || (type != nullptr && !type->is_float)) {
      into.Skip(std::move(entry.name), "type " + entry.dtype);
      return {};
    }
    return Err(
        ErrorCode::kUnsupported,
        "{}: {} has type {}; F32, F16 and BF16 are read, so take or make a checkpoint in one "
        "of these",
        where, entry.name, entry.dtype);
  }
  const uint64_t data_bytes = into.file_bytes(file).size() - sections.data_begin;
  OCTET_TRY(CheckEntry(entry, *type, data_bytes, where, mode));
  const uint64_t offset = sections.data_begin + entry.begin;
  return into.Add(
      {std::move(entry.name), *type->format, std::move(entry.shape), entry.end - entry.begin}, file,
      offset);
}

Status AddFileTensors(MappedTensors& into, int file, OpenMode mode) {
  const std::string& where = into.file_name(file);
  OCTET_ASSIGN(const Sections sections, Split(into.file_bytes(file), where));
  OCTET_ASSIGN(SafetensorsHeader header, ParseSafetensorsHeader(sections.header, where));
  OCTET_TRY(CheckDisjoint(header.entries, where));
  for (SafetensorsEntry& entry : header.entries) {
    OCTET_TRY(AddEntry(into, entry, file, sections, mode));
  }
  into.metadata().merge(header.metadata);
  return {};
}

}  // namespace

Status AddSafetensors(MappedTensors& into, const std::filesystem::path& path, OpenMode mode) {
  OCTET_ASSIGN(MappedFile file, MappedFile::Open(path));
  return AddFileTensors(into, into.AddFile(std::move(file)), mode);
}

Status AddSafetensors(MappedTensors& into, std::span<const std::byte> bytes, std::string_view where,
                      OpenMode mode) {
  return AddFileTensors(into, into.AddBytes(bytes, where), mode);
}

}  // namespace octet
