#include "ptq/importance.h"

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/mapped_file.h"
#include "io/gguf_writer.h"

namespace octet {
namespace {

constexpr std::string_view kSums = ".in_sum2";
constexpr std::string_view kCounts = ".counts";
constexpr std::string_view kDatasetsKey = "imatrix.datasets";
constexpr std::string_view kChunksKey = "imatrix.chunk_count";
constexpr std::string_view kChunkTokensKey = "imatrix.chunk_size";

TensorInfo FloatTensor(std::string name, std::vector<int64_t> shape) {
  TensorInfo info;
  info.name = std::move(name);
  info.format = Format::kF32;
  info.shape = std::move(shape);
  info.bytes = static_cast<uint64_t>(info.values()) * sizeof(float);
  return info;
}

GgufMetadata MetadataOf(const ImportanceMatrix& matrix) {
  GgufMetadata metadata;
  metadata.Set("general.type", std::string("imatrix"), GgufType::kString);
  metadata.Set(kDatasetsKey, matrix.datasets, GgufType::kString);
  metadata.Set(kChunksKey, static_cast<uint64_t>(matrix.chunks), GgufType::kUint32);
  metadata.Set(kChunkTokensKey, static_cast<uint64_t>(matrix.chunk_tokens), GgufType::kUint32);
  return metadata;
}

Status CheckValues(std::span<const float> values, std::string_view where, std::string_view name) {
  for (const float value : values) {
    if (std::isfinite(value) && value >= 0) continue;
    return Err(ErrorCode::kCorrupt, "{}: {} has the value {}, expected numbers of at least 0",
               where, name, value);
  }
  return {};
}

Result<std::vector<float>> Floats(const GgufFile& file, const TensorInfo& info,
                                  std::string_view where) {
  if (info.format != Format::kF32) {
    return Err(ErrorCode::kCorrupt, "{}: {} is {}, expected F32", where, info.name,
               Info(info.format).name);
  }
  OCTET_ASSIGN(const std::span<const std::byte> bytes, file.Data(info));
  std::vector<float> values(static_cast<size_t>(info.values()));
  Info(Format::kF32).decode(bytes.data(), info.values(), values.data());
  OCTET_TRY(CheckValues(values, where, info.name));
  return values;
}

Result<ImportanceEntry> ReadEntry(const GgufFile& file, const TensorInfo& sums,
                                  const std::string& name, std::string_view where) {
  const TensorInfo* counts = file.Find(name + std::string(kCounts));
  if (counts == nullptr) {
    return Err(ErrorCode::kCorrupt, "{}: {} has sums but no counts", where, name);
  }
  ImportanceEntry entry;
  OCTET_ASSIGN(entry.sum_squares, Floats(file, sums, where));
  OCTET_ASSIGN(entry.counts, Floats(file, *counts, where));
  entry.matrices = static_cast<int64_t>(entry.counts.size());
  if (entry.matrices == 0 || sums.values() == 0 || sums.values() % entry.matrices != 0) {
    return Err(ErrorCode::kCorrupt, "{}: {} has {} sums for {} matrices", where, name,
               sums.values(), entry.matrices);
  }
  constexpr float kMostInputs = 1e15f;
  for (const float count : entry.counts) {
    if (count > kMostInputs)
      return Err(ErrorCode::kCorrupt, "{}: {} saw {} inputs, which cannot be", where, name, count);
  }
  entry.cols = sums.values() / entry.matrices;
  return entry;
}

Result<ImportanceMatrix> FromGguf(const GgufFile& file, std::string_view where) {
  const std::string* type = file.metadata().String("general.type");
  if (type == nullptr || *type != "imatrix") {
    return Err(ErrorCode::kInvalidArgument,
               "{}: is a GGUF, but no importance matrix (its general.type is {}); octet imatrix "
               "writes one",
               where, type == nullptr ? "missing" : *type);
  }
  ImportanceMatrix matrix;
  if (const auto* datasets = file.metadata().Strings(kDatasetsKey)) matrix.datasets = *datasets;
  // Beyond 32 bits nothing writes them; what a damaged file says must not overflow later.
  constexpr uint64_t kLargest = UINT32_MAX;
  matrix.chunks =
      static_cast<int64_t>(std::min(kLargest, file.metadata().Uint(kChunksKey).value_or(0)));
  matrix.chunk_tokens =
      static_cast<int64_t>(std::min(kLargest, file.metadata().Uint(kChunkTokensKey).value_or(0)));
  for (const TensorInfo& info : file.tensors()) {
    if (!info.name.ends_with(kSums)) continue;
    const std::string name = info.name.substr(0, info.name.size() - kSums.size());
    OCTET_ASSIGN(matrix.entries[name], ReadEntry(file, info, name, where));
  }
  if (matrix.entries.empty()) {
    return Err(ErrorCode::kCorrupt, "{}: has no {} tensors", where, kSums);
  }
  return matrix;
}

Result<std::string> LegacyText(ByteReader& reader, std::string_view what) {
  OCTET_ASSIGN(const auto length, reader.Read<int32_t>(what));
  if (length < 0) return Err(ErrorCode::kCorrupt, "imatrix: the length of {} is {}", what, length);
  OCTET_ASSIGN(const std::span<const std::byte> bytes,
               reader.Take(static_cast<uint64_t>(length), what));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Status LegacyEntry(ByteReader& reader, std::string_view where, ImportanceMatrix& matrix) {
  OCTET_ASSIGN(const std::string name, LegacyText(reader, "a tensor's name"));
  OCTET_ASSIGN(const auto calls, reader.Read<int32_t>("a count of chunks"));
  OCTET_ASSIGN(const auto values, reader.Read<int32_t>("a count of values"));
  if (calls < 1 || values < 1) {
    return Err(ErrorCode::kCorrupt, "{}: {} has {} values of {} chunks", where, name, values,
               calls);
  }
  OCTET_ASSIGN(const std::span<const std::byte> bytes,
               reader.Take(static_cast<uint64_t>(values) * sizeof(float), name));
  constexpr float kChunkTokens = 512;
  ImportanceEntry entry;
  entry.matrices = 1;  // how many the values belong to is not said: whoever uses them knows
  entry.cols = values;
  entry.counts = {static_cast<float>(calls) * kChunkTokens};
  entry.sum_squares.resize(static_cast<size_t>(values));
  Info(Format::kF32).decode(bytes.data(), values, entry.sum_squares.data());
  OCTET_TRY(CheckValues(entry.sum_squares, where, name));
  for (float& sum : entry.sum_squares) sum *= kChunkTokens;
  matrix.entries.insert_or_assign(name, std::move(entry));
  return {};
}

Result<ImportanceMatrix> FromLegacy(std::span<const std::byte> bytes, std::string_view where) {
  ByteReader reader(bytes, where);
  OCTET_ASSIGN(const auto entries, reader.Read<int32_t>("a count of tensors"));
  ImportanceMatrix matrix;
  matrix.chunk_tokens = 512;
  for (int32_t i = 0; i < entries; ++i) OCTET_TRY(LegacyEntry(reader, where, matrix));
  if (matrix.entries.empty()) {
    return Err(ErrorCode::kCorrupt,
               "{}: is no importance matrix: neither a GGUF nor the older form", where);
  }
  // The oldest files end here.
  if (reader.remaining() == 0) return matrix;
  OCTET_ASSIGN(const auto chunks, reader.Read<int32_t>("the chunks of all"));
  matrix.chunks = std::max(chunks, 0);
  if (reader.remaining() == 0) return matrix;
  OCTET_ASSIGN(std::string dataset, LegacyText(reader, "the text's name"));
  matrix.datasets.push_back(std::move(dataset));
  return matrix;
}

}  // namespace

Status WriteImportance(const std::filesystem::path& path, const ImportanceMatrix& matrix) {
  std::vector<TensorInfo> tensors;
  for (const auto& [name, entry] : matrix.entries) {
    tensors.push_back(FloatTensor(name + std::string(kSums), {entry.matrices, entry.cols}));
    tensors.push_back(FloatTensor(name + std::string(kCounts), {entry.matrices, 1}));
  }
  OCTET_ASSIGN(GgufWriter writer,
               GgufWriter::Create(path, MetadataOf(matrix), std::move(tensors), false));
  for (const auto& [name, entry] : matrix.entries) {
    OCTET_TRY(writer.Append(std::as_bytes(std::span(entry.sum_squares))));
    OCTET_TRY(writer.Append(std::as_bytes(std::span(entry.counts))));
  }
  return writer.Commit();
}

Result<ImportanceMatrix> ParseImportance(std::span<const std::byte> bytes, std::string_view where) {
  const std::string_view magic(reinterpret_cast<const char*>(bytes.data()),
                               std::min<size_t>(bytes.size(), 4));
  if (magic != "GGUF") return FromLegacy(bytes, where);
  OCTET_ASSIGN(const std::unique_ptr<GgufFile> file, ParseGguf(bytes, where));
  return FromGguf(*file, where);
}

Result<ImportanceMatrix> ReadImportance(const std::filesystem::path& path) {
  OCTET_ASSIGN(const MappedFile file, MappedFile::Open(path));
  return ParseImportance(file.bytes(), path.string());
}

Result<ImportanceEntry> EntryFor(const ImportanceMatrix& matrix, std::string_view name,
                                 int64_t matrices, int64_t cols) {
  const auto found = matrix.entries.find(name);
  if (found == matrix.entries.end()) return ImportanceEntry();
  ImportanceEntry entry = found->second;
  if (entry.matrices == matrices && entry.cols == cols) return entry;
  // The older form does not say how many matrices its values are of.
  if (entry.matrices == 1 && entry.cols == matrices * cols) {
    entry.matrices = matrices;
    entry.cols = cols;
    entry.counts.assign(static_cast<size_t>(matrices), entry.counts.front());
    return entry;
  }
  return Err(ErrorCode::kInvalidArgument,
             "the importance matrix has {} x {} columns for {}, the model has {} x {}; it was "
             "made with another model",
             entry.matrices, entry.cols, name, matrices, cols);
}

std::vector<float> ImportanceOf(const ImportanceEntry& entry, int64_t matrix) {
  const auto cols = static_cast<size_t>(entry.cols);
  std::vector<double> sums(cols);
  double count = 0;
  const auto add = [&](int64_t m) {
    const float* from = entry.sum_squares.data() + m * entry.cols;
    for (size_t c = 0; c < cols; ++c) sums[c] += from[c];
    count += entry.counts[static_cast<size_t>(m)];
  };
  if (entry.count(matrix) >= kFewInputs) {
    add(matrix);
  } else {
    for (int64_t m = 0; m < entry.matrices; ++m) add(m);
  }
  std::vector<float> means;
  if (count <= 0) return means;
  means.resize(cols);
  for (size_t c = 0; c < cols; ++c) means[c] = static_cast<float>(sums[c] / count);
  return means;
}

}  // namespace octet
