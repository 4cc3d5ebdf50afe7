// The beginnings of texts on disk: keys and values that a server need not compute again after a
// restart.
//
// Little-endian. A header (PrefixFileHeader), then for each page: the hash of the page before it
// (of the first: its text's root, 0 or an adapter's) and its own (PrefixCache::Hash), u64; its
// tokens, i32 [page_tokens]; its keys and values as the cache has them; a checksum of all that,
// u64. Pages come after those before them in their text, and otherwise the last used first. At the
// end how many they are and a checksum of that, u64 each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "engine/prefix_cache.h"
#include "model/kv_cache.h"
#include "model/weights.h"

namespace octet {

struct PrefixFileHeader {
  char magic[8] = {'O', 'C', 'T', 'E', 'T', 'K', 'V', '3'};
  /// Of the configuration and lines of every matrix: another model, or the same in other formats,
  /// has other keys and values.
  uint64_t model = 0;
  // What else decides their bits.
  uint32_t arithmetic = 0, isa = 0;
  uint32_t format = 0, page_tokens = 0;
  uint64_t page_bytes = 0;
  uint64_t checksum = 0;  // of all before
};
static_assert(sizeof(PrefixFileHeader) == 48);

/// Reads 16 lines of every matrix.
uint64_t ModelFingerprint(const Model& model);

/// A page on its way to a file.
struct PrefixRecord {
  uint64_t before = 0, hash = 0;
  std::vector<int32_t> tokens;
  std::vector<std::byte> content;  // keys and values
};
PrefixRecord CopyPrefix(const PrefixCache::Page& page, KvCache& cache);

/// Writes a file, at once or not at all.
class PrefixFileWriter {
 public:
  /// `header`: without its checksum.
  static Result<PrefixFileWriter> Create(const std::filesystem::path& path,
                                         PrefixFileHeader header);
  Status Add(const PrefixRecord& record);
  /// How many pages it has.
  Result<int64_t> Commit();

 private:
  explicit PrefixFileWriter(AtomicFileWriter file) : file_(std::move(file)) {}

  AtomicFileWriter file_;
  std::vector<std::byte> bytes_;  // of one record
  uint64_t pages_ = 0;
};

/// All pages; how many. `header`: as PrefixFileWriter's.
Result<int64_t> WritePrefixFile(const std::filesystem::path& path, const PrefixFileHeader& header,
                                const PrefixCache& prefixes, KvCache& cache);
struct ExpectedPrefixes {
  PrefixFileHeader header;          // without its checksum
  std::span<const uint64_t> roots;  // of texts beside 0: pages of other adapters are passed over
};
/// Adds pages as far as free ones last; how many. Errors say why the file does not fit, or where
/// it is damaged; sound pages before that place are kept.
Result<int64_t> ReadPrefixFile(const std::filesystem::path& path, ExpectedPrefixes expected,
                               PrefixCache& prefixes, KvCache& cache);

}  // namespace octet
