// The beginnings of texts on disk: keys and values that a server need not compute again after a
// restart.
//
// Little-endian. A header (PrefixFileHeader), then for each page: the hash of the page before it
// (of the first: its text's root, 0 or an adapter's) and its own (PrefixCache::Hash), u64; its
// tokens, i32 [page_tokens]; its keys and values as the cache has them; a checksum of all that,
// u64. Pages come after those before them in their text, and otherwise the last used first.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "base/result.h"
#include "engine/prefix_cache.h"
#include "model/kv_cache.h"
#include "model/weights.h"

namespace octet {

struct PrefixFileHeader {
  char magic[8] = {'O', 'C', 'T', 'E', 'T', 'K', 'V', '2'};
  /// Of the configuration and lines of every matrix: another model, or the same in other formats,
  /// has other keys and values.
  uint64_t model = 0;
  // What else decides their bits.
  uint32_t arithmetic = 0, isa = 0;
  uint32_t format = 0, page_tokens = 0;
  uint64_t page_bytes = 0;
  uint64_t pages = 0;
  uint64_t checksum = 0;  // of all before
};
static_assert(sizeof(PrefixFileHeader) == 56);

/// Reads 16 lines of every matrix.
uint64_t ModelFingerprint(const Model& model);

/// Writes all pages, at once or not at all; how many. `header`: without its last two fields.
Result<int64_t> WritePrefixFile(const std::filesystem::path& path, PrefixFileHeader header,
                                const PrefixCache& prefixes, KvCache& cache);
struct ExpectedPrefixes {
  PrefixFileHeader header;          // as for WritePrefixFile
  std::span<const uint64_t> roots;  // of texts beside 0: pages of other adapters are passed over
};
/// Adds pages as far as free ones last; how many. Errors say why the file does not fit, or where
/// it is damaged; sound pages before that place are kept.
Result<int64_t> ReadPrefixFile(const std::filesystem::path& path, ExpectedPrefixes expected,
                               PrefixCache& prefixes, KvCache& cache);

}  // namespace octet
