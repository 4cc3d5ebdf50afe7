// The table of contents of a zip archive, as torch.save writes it: entries stored, not compressed.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace octet {

struct ZipEntry {
  uint64_t offset = 0;  // of the first byte of content in the archive
  uint64_t bytes = 0;
  uint32_t crc32 = 0;  // as recorded; 0 where the writer did not compute it
};

/// Name → entry, from the central directory (zip64 included). Each entry's local header and range
/// are checked. Compressed or encrypted entries are kUnsupported; `where` is named in errors.
Result<std::map<std::string, ZipEntry, std::less<>>> ReadZipDirectory(
    std::span<const std::byte> archive, std::string_view where);

}  // namespace octet
