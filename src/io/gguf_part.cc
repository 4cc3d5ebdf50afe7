#include "io/gguf_part.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/file.h"
#include "tensor/weight_matrix.h"

namespace octet::gguf {
namespace {

// Far above any real file (vocabularies reach 256k entries), and low enough that the in-memory form
// of a hostile header stays below a gigabyte.
constexpr uint64_t kMaxArrayValues = 1ull << 24;
constexpr uint64_t kMaxNameBytes = 1u << 16;
constexpr uint64_t kMaxAlignment = 1u << 20;
constexpr uint32_t kMaxDimensions = 4;
constexpr uint64_t kMaxValues = 1ull << 56;  // so that bytes and padding cannot overflow either

constexpr uint64_t kMinKeyBytes = 8 + 4 + 1;                 // empty key, type, one byte
constexpr uint64_t kMinTensorInfoBytes = 8 + 4 + 8 + 4 + 8;  // empty name, one dimension

/// Types of ggml that exist but that nothing here decodes, to be named in the error.
std::string_view UnsupportedTypeName(uint32_t type) {
  static constexpr std::pair<uint32_t, std::string_view> kNames[] = {
      {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},
      {21, "IQ3_S"}, {22, "IQ2_S"}, {24, "I8"},      {25, "I16"},    {26, "I32"},     {27, "I64"},
      {28, "F64"},   {29, "IQ1_M"}, {34, "TQ1_0"},   {35, "TQ2_0"},  {39, "MXFP4"}};
  for (const auto& [number, name] : kNames) {
    if (number == type) return name;
  }
  return "a type unknown here";
}

/// For messages: what a damaged file calls a name may be anything.
std::string Printable(std::string_view text) {
  std::string shown(text.substr(0, 80));
  for (char& c : shown) {
    if (std::iscntrl(static_cast<unsigned char>(c))) c = '?';
  }
  return shown;
}

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, std::string_view where, OpenMode mode)
      : reader_(bytes, where), where_(where), file_bytes_(bytes.size()), mode_(mode) {}

  Result<Part> Parse() {
    OCTET_TRY(ReadPreamble());
    for (uint64_t i = 0; i < key_count_; ++i) OCTET_TRY(ReadKey());
    OCTET_TRY(ReadAlignment());
    OCTET_TRY(ReadTensorList());
    OCTET_TRY(PlaceTensors());
    OCTET_TRY(CheckOverlaps());
    return std::move(part_);
  }

 private:
  Status ReadPreamble();
  Status ReadKey();
  Status ReadAlignment();
  Status ReadTensorList();
  Result<TensorInfo> ReadTensorInfo();
  Status ReadShape(TensorInfo& info);
  /// Takes the layout out of a packed matrix's type.
  Status ReadLayout(uint32_t* type, TensorInfo& info);
  Status SetBytes(TensorInfo& info);
  Status PlaceTensors();
  Status CheckOverlaps() const;

  Result<std::string> ReadString(std::string_view what, uint64_t max_bytes);
  Result<GgufValue> ReadScalar(GgufType type, std::string_view key);
  Result<GgufValue> ReadArray(GgufType* element, std::string_view key);
  template <class Value, class Stored>
  Result<GgufValue> ReadNumber(std::string_view key);
  template <class Value, class Stored>
  Result<GgufValue> ReadNumbers(uint64_t count, std::string_view key);
  Result<GgufValue> ReadStrings(uint64_t count, std::string_view key);

  ByteReader reader_;
  std::string_view where_;
  uint64_t file_bytes_;
  OpenMode mode_;
  Part part_;
  uint64_t tensor_count_ = 0, key_count_ = 0;
  uint64_t alignment_ = kDefaultAlignment;
  uint64_t array_budget_ = kMaxArrayValues;
};

Status Parser::ReadPreamble() {
  OCTET_ASSIGN(const auto magic, reader_.Read<uint32_t>("the magic number"));
  if (magic != kMagic) {
    return Err(ErrorCode::kCorrupt,
               "{}: not a GGUF file: the first four bytes are {:#010x}, expected {:#010x} (GGUF)",
               where_, magic, kMagic);
  }
  OCTET_ASSIGN(const auto version, reader_.Read<uint32_t>("the version"));
  if ((version & 0xffffu) == 0 && version != 0) {
    return Err(ErrorCode::kUnsupported,
               "{}: a big-endian GGUF (made for s390x and the like); get or make the little-endian "
               "file of the model",
               where_);
  }
  if (version == 1) {
    return Err(ErrorCode::kUnsupported,
               "{}: GGUF version 1, in use for a few weeks of August 2023; versions 2 and 3 are "
               "read: convert the model anew or download a later file",
               where_);
  }
  if (version != 2 && version != 3) {
    return Err(ErrorCode::kUnsupported, "{}: GGUF version {}, versions 2 and 3 are read", where_,
               version);
  }
  OCTET_ASSIGN(tensor_count_, reader_.Read<uint64_t>("the tensor count"));
  OCTET_ASSIGN(key_count_, reader_.Read<uint64_t>("the key count"));
  if (key_count_ > reader_.remaining() / kMinKeyBytes) {
    return Err(ErrorCode::kCorrupt,
               "{}: says it has {} metadata keys, more than its {} bytes could hold; the file is "
               "truncated or damaged",
               where_, key_count_, file_bytes_);
  }
  if (tensor_count_ > reader_.remaining() / kMinTensorInfoBytes) {
    return Err(ErrorCode::kCorrupt,
               "{}: says it has {} tensors, more than its {} bytes could list; the file is "
               "truncated or damaged",
               where_, tensor_count_, file_bytes_);
  }
  return {};
}

Result<std::string> Parser::ReadString(std::string_view what, uint64_t max_bytes) {
  OCTET_ASSIGN(const auto length, reader_.Read<uint64_t>(what));
  if (length > max_bytes) {
    return Err(ErrorCode::kCorrupt,
               "{}: {} at byte {} is said to be {} bytes long; the file is "
               "damaged",
               where_, what, reader_.offset() - 8, length);
  }
  OCTET_ASSIGN(const auto bytes, reader_.Take(length, what));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

template <class Value, class Stored>
Result<GgufValue> Parser::ReadNumber(std::string_view key) {
  OCTET_ASSIGN(const auto value, reader_.Read<Stored>(key));
  return GgufValue(std::in_place_type<Value>, static_cast<Value>(value));
}

Result<GgufValue> Parser::ReadScalar(GgufType type, std::string_view key) {
  switch (type) {
    case GgufType::kUint8:
      return ReadNumber<uint64_t, uint8_t>(key);
    case GgufType::kInt8:
      return ReadNumber<int64_t, int8_t>(key);
    case GgufType::kUint16:
      return ReadNumber<uint64_t, uint16_t>(key);
    case GgufType::kInt16:
      return ReadNumber<int64_t, int16_t>(key);
    case GgufType::kUint32:
      return ReadNumber<uint64_t, uint32_t>(key);
    case GgufType::kInt32:
      return ReadNumber<int64_t, int32_t>(key);
    case GgufType::kFloat32:
      return ReadNumber<double, float>(key);
    case GgufType::kUint64:
      return ReadNumber<uint64_t, uint64_t>(key);
    case GgufType::kInt64:
      return ReadNumber<int64_t, int64_t>(key);
    case GgufType::kFloat64:
      return ReadNumber<double, double>(key);
    case GgufType::kBool: {
      OCTET_ASSIGN(const auto value, reader_.Read<uint8_t>(key));
      return GgufValue(value != 0);
    }
    case GgufType::kString: {
      OCTET_ASSIGN(std::string value, ReadString(key, reader_.remaining()));
      return GgufValue(std::move(value));
    }
    case GgufType::kArray:
      break;
  }
  return Err(ErrorCode::kCorrupt,
             "{}: {} has value type {}, which GGUF does not define; the file "
             "is damaged",
             where_, Printable(key), static_cast<uint32_t>(type));
}

template <class Value, class Stored>
Result<GgufValue> Parser::ReadNumbers(uint64_t count, std::string_view key) {
  OCTET_ASSIGN(const auto bytes, reader_.Take(count * sizeof(Stored), key));
  std::vector<Value> values;
  values.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    Stored value;
    std::memcpy(&value, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values.push_back(static_cast<Value>(value));
  }
  return GgufValue(std::move(values));
}

Result<GgufValue> Parser::ReadStrings(uint64_t count, std::string_view key) {
  if (count > reader_.remaining() / sizeof(uint64_t)) {
    return Err(ErrorCode::kCorrupt,
               "{}: {} is said to have {} strings, but only {} bytes are left; "
               "the file is truncated or damaged",
               where_, Printable(key), count, reader_.remaining());
  }
  std::vector<std::string> values;
  values.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    OCTET_ASSIGN(std::string value, ReadString(key, reader_.remaining()));
    values.push_back(std::move(value));
  }
  return GgufValue(std::move(values));
}

Result<GgufValue> Parser::ReadArray(GgufType* element, std::string_view key) {
  OCTET_ASSIGN(const auto type, reader_.Read<uint32_t>(key));
  OCTET_ASSIGN(const auto count, reader_.Read<uint64_t>(key));
  if (count > array_budget_) {
    return Err(ErrorCode::kCorrupt,
               "{}: {} is said to have {} values; all arrays together may have {}", where_,
               Printable(key), count, kMaxArrayValues);
  }
  array_budget_ -= count;
  *element = static_cast<GgufType>(type);
  switch (*element) {
    case GgufType::kUint8:
      return ReadNumbers<int64_t, uint8_t>(count, key);
    case GgufType::kInt8:
      return ReadNumbers<int64_t, int8_t>(count, key);
    case GgufType::kUint16:
      return ReadNumbers<int64_t, uint16_t>(count, key);
    case GgufType::kInt16:
      return ReadNumbers<int64_t, int16_t>(count, key);
    case GgufType::kUint32:
      return ReadNumbers<int64_t, uint32_t>(count, key);
    case GgufType::kInt32:
      return ReadNumbers<int64_t, int32_t>(count, key);
    case GgufType::kUint64:  // values from 2^63 on keep their bits, and so a round trip
    case GgufType::kInt64:
      return ReadNumbers<int64_t, int64_t>(count, key);
    case GgufType::kFloat32:
      return ReadNumbers<double, float>(count, key);
    case GgufType::kFloat64:
      return ReadNumbers<double, double>(count, key);
    case GgufType::kBool:
      return ReadNumbers<bool, uint8_t>(count, key);
    case GgufType::kString:
      return ReadStrings(count, key);
    case GgufType::kArray:
      return Err(ErrorCode::kUnsupported,
                 "{}: {} is an array of arrays, which no known program "
                 "writes",
                 where_, Printable(key));
  }
  return Err(ErrorCode::kCorrupt,
             "{}: {} is an array of type {}, which GGUF does not define; the "
             "file is damaged",
             where_, Printable(key), type);
}

Status Parser::ReadKey() {
  OCTET_ASSIGN(const std::string key, ReadString("a metadata key", kMaxNameBytes));
  OCTET_ASSIGN(const auto raw_type, reader_.Read<uint32_t>(key));
  auto type = static_cast<GgufType>(raw_type);
  const bool is_array = type == GgufType::kArray;
  OCTET_ASSIGN(GgufValue value, is_array ? ReadArray(&type, key) : ReadScalar(type, key));
  if (part_.metadata.values().contains(key)) {
    return Err(ErrorCode::kCorrupt, "{}: metadata key {} occurs twice", where_, Printable(key));
  }
  part_.metadata.Set(key, std::move(value), type);
  return {};
}

Status Parser::ReadAlignment() {
  if (!part_.metadata.values().contains(kAlignmentKey)) return {};
  const auto alignment = part_.metadata.Uint(kAlignmentKey);
  if (!alignment || !std::has_single_bit(*alignment) || *alignment > kMaxAlignment) {
    return Err(ErrorCode::kCorrupt, "{}: {} is {}, expected a power of two up to {}", where_,
               kAlignmentKey, alignment ? std::to_string(*alignment) : "not a whole number",
               kMaxAlignment);
  }
  alignment_ = *alignment;
  return {};
}

Status Parser::ReadShape(TensorInfo& info) {
  OCTET_ASSIGN(const auto rank, reader_.Read<uint32_t>("a tensor's number of dimensions"));
  if (rank == 0 || rank > kMaxDimensions) {
    return Err(ErrorCode::kCorrupt, "{}: tensor {} has {} dimensions, expected 1 to {}", where_,
               Printable(info.name), rank, kMaxDimensions);
  }
  uint64_t values = 1;
  for (uint32_t i = 0; i < rank; ++i) {
    OCTET_ASSIGN(const auto size, reader_.Read<uint64_t>("a tensor's dimension"));
    if (size == 0 || size > kMaxValues / values) {
      return Err(ErrorCode::kCorrupt,
                 "{}: tensor {} has an impossible dimension of {}; the file is "
                 "damaged",
                 where_, Printable(info.name), size);
    }
    values *= size;
    info.shape.push_back(static_cast<int64_t>(size));
  }
  std::reverse(info.shape.begin(), info.shape.end());  // the file has the innermost first
  return {};
}

Status Parser::ReadLayout(uint32_t* type, TensorInfo& info) {
  if (*type >> 16 != kPackedType >> 16) return {};
  const uint32_t number = *type >> 8 & 0xff;
  *type &= 0xff;
  const auto* layouts = part_.metadata.Strings(kPackedLayoutsKey);
  if (layouts == nullptr || number >= layouts->size()) {
    return Err(ErrorCode::kCorrupt, "{}: tensor {} is in layout {} of {}, of which there are {}",
               where_, Printable(info.name), number, kPackedLayoutsKey,
               layouts == nullptr ? 0 : layouts->size());
  }
  const std::string& name = (*layouts)[number];
  const auto layout = LayoutFromName(name);
  if (!layout) {
    return Err(
        ErrorCode::kUnsupported,
        "{}: its weights are packed in layout {}, which this version of Octet does not read; "
        "pack the original model again, or use that",
        where_, Printable(name));
  }
  info.layout = *layout;
  return {};
}

/// Rows must be whole blocks; a packed matrix is padded to whole tiles.
Status Parser::SetBytes(TensorInfo& info) {
  const FormatInfo& format = Info(info.format);
  if (info.shape.back() % format.block_values != 0) {
    return Err(ErrorCode::kCorrupt, "{}: tensor {} is {} {}, but rows of {} come in blocks of {}",
               where_, Printable(info.name), format.name, ShapeString(info.shape), format.name,
               format.block_values);
  }
  if (info.layout == Layout::kRowMajor) {
    info.bytes = static_cast<uint64_t>(FormatBytes(info.format, info.values()));
    return {};
  }
  constexpr int64_t kMaxSide = int64_t{1} << 28;  // so that padding cannot overflow
  const bool is_matrix =
      info.shape.size() == 2 && std::max(info.shape[0], info.shape[1]) < kMaxSide;
  if (!is_matrix || !LayoutHolds(info.layout, info.format)) {
    return Err(ErrorCode::kCorrupt, "{}: tensor {} is {} {}, which cannot be in layout {}", where_,
               Printable(info.name), format.name, ShapeString(info.shape), LayoutName(info.layout));
  }
  WeightMatrix matrix;
  matrix.format = info.format;
  matrix.layout = info.layout;
  matrix.rows = info.shape[0];
  matrix.cols = info.shape[1];
  info.bytes = static_cast<uint64_t>(matrix.bytes());
  return {};
}

Result<TensorInfo> Parser::ReadTensorInfo() {
  TensorInfo info;
  OCTET_ASSIGN(info.name, ReadString("a tensor's name", kMaxNameBytes));
  OCTET_TRY(ReadShape(info));
  OCTET_ASSIGN(auto type, reader_.Read<uint32_t>("a tensor's type"));
  OCTET_TRY(ReadLayout(&type, info));
  const auto format = FormatFromGgml(type);
  if (!format) {
    return Err(ErrorCode::kUnsupported,
               "{}: tensor {} is stored as {} (ggml type {}), which is not supported; use a file "
               "in F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K, IQ4_NL or IQ4_XS",
               where_, Printable(info.name), UnsupportedTypeName(type), type);
  }
  info.format = *format;
  OCTET_TRY(SetBytes(info));
  return info;
}

Status Parser::ReadTensorList() {
  if (tensor_count_ > reader_.remaining() / kMinTensorInfoBytes) {
    return Err(ErrorCode::kCorrupt,
               "{}: ends within its list of {} tensors; the file is truncated "
               "or damaged",
               where_, tensor_count_);
  }
  part_.tensors.reserve(tensor_count_);
  part_.begin.reserve(tensor_count_);
  for (uint64_t i = 0; i < tensor_count_; ++i) {
    OCTET_ASSIGN(TensorInfo info, ReadTensorInfo());
    OCTET_ASSIGN(const auto offset, reader_.Read<uint64_t>("a tensor's offset"));
    part_.tensors.push_back(std::move(info));
    part_.begin.push_back(offset);
  }
  return {};
}

Status Parser::PlaceTensors() {
  const uint64_t data_begin = (reader_.offset() + alignment_ - 1) / alignment_ * alignment_;
  std::unordered_set<std::string_view> names;
  for (size_t i = 0; i < part_.tensors.size(); ++i) {
    const TensorInfo& info = part_.tensors[i];
    uint64_t& begin = part_.begin[i];
    if (!names.insert(info.name).second) {
      return Err(ErrorCode::kCorrupt, "{}: tensor {} is listed twice", where_,
                 Printable(info.name));
    }
    if (begin % alignment_ != 0 || begin > kMaxValues) {
      return Err(ErrorCode::kCorrupt,
                 "{}: tensor {} begins at offset {}, expected a multiple of "
                 "{}; the file is damaged",
                 where_, Printable(info.name), begin, alignment_);
    }
    begin += data_begin;
    if (mode_ == OpenMode::kFull && begin + info.bytes > file_bytes_) {
      return Err(ErrorCode::kCorrupt,
                 "{}: tensor {} ends at byte {}, the file has {}; it is "
                 "truncated (an unfinished download?)",
                 where_, Printable(info.name), begin + info.bytes, file_bytes_);
    }
  }
  return {};
}

Status Parser::CheckOverlaps() const {
  std::vector<size_t> order(part_.tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return part_.begin[a] < part_.begin[b]; });
  for (size_t i = 1; i < order.size(); ++i) {
    const size_t before = order[i - 1];
    if (part_.begin[before] + part_.tensors[before].bytes > part_.begin[order[i]]) {
      return Err(ErrorCode::kCorrupt, "{}: the data of {} and {} overlap; the file is damaged",
                 where_, Printable(part_.tensors[before].name),
                 Printable(part_.tensors[order[i]].name));
    }
  }
  return {};
}

}  // namespace

Result<Part> ParsePart(std::span<const std::byte> bytes, std::string_view where, OpenMode mode) {
  return Parser(bytes, where, mode).Parse();
}

}  // namespace octet::gguf
