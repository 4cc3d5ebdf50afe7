// Importance of weights for quantisation: how large the values are that each column of a matrix
// meets. Files: docs/formats/imatrix.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/gguf.h"

namespace octet {

/// What one tensor's matrices met: one matrix, or the experts that share a tensor.
struct ImportanceEntry {
  int64_t matrices = 0, cols = 0;
  std::vector<float> sum_squares;  // [matrices, cols] of the inputs
  std::vector<float> counts;       // [matrices] inputs that were seen

  int64_t count(int64_t matrix) const {
    return static_cast<int64_t>(counts[static_cast<size_t>(matrix)]);
  }
};

/// By the tensor's name in a GGUF.
struct ImportanceMatrix {
  std::map<std::string, ImportanceEntry, std::less<>> entries;
  std::vector<std::string> datasets;  // names of the texts
  int64_t chunks = 0;                 // of chunk_tokens, computed so far
  int64_t chunk_tokens = 0;
};

/// Replaces `path` atomically. The layout is that of llama.cpp's imatrix files since July 2025,
/// which its quantiser reads.
Status WriteImportance(const std::filesystem::path& path, const ImportanceMatrix& matrix);
/// That layout, or the older one ("imatrix.dat"), which keeps means and no counts: there each is
/// taken for the mean of chunks·512 inputs. kCorrupt says what is wrong.
Result<ImportanceMatrix> ReadImportance(const std::filesystem::path& path);
/// The same from bytes in memory; `where` is named in errors.
Result<ImportanceMatrix> ParseImportance(std::span<const std::byte> bytes, std::string_view where);

/// The entry of a tensor with so many matrices of so many columns; an empty one (matrices 0) where
/// there is none, as for embeddings. kInvalidArgument when it is of another model.
Result<ImportanceEntry> EntryFor(const ImportanceMatrix& matrix, std::string_view name,
                                 int64_t matrices, int64_t cols);

/// Fewer inputs than this say little about an expert: the mean over the tensor's other matrices
/// stands in.
inline constexpr int64_t kFewInputs = 32;

/// Mean squares [cols] of a matrix of the entry; of all its matrices together where it saw fewer
/// than kFewInputs; empty where none saw any.
std::vector<float> ImportanceOf(const ImportanceEntry& entry, int64_t matrix);

}  // namespace octet
