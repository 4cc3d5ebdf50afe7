#include "io/npy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/mapped_file.h"

namespace octet {
namespace {

constexpr std::string_view kMagic("\x93NUMPY\x01\x00", 8);

std::string Header(NpyWriter::Type type, const std::vector<int64_t>& shape) {
  const char* descr = type == NpyWriter::Type::kFloat32 ? "<f4" : "<i4";
  std::string dict = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}",
                                 descr, fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  // The data starts at a multiple of 64; the dictionary ends with a newline.
  const size_t used = kMagic.size() + 2 + dict.size() + 1;
  dict.append((64 - used % 64) % 64, ' ');
  dict.push_back('\n');
  const auto size = static_cast<uint16_t>(dict.size());
  std::string header(kMagic);
  header.push_back(static_cast<char>(size & 0xff));
  header.push_back(static_cast<char>(size >> 8));
  return header + dict;
}

Result<std::vector<int64_t>> ParseShape(std::string_view dict, const std::string& where) {
  const size_t open = dict.find("'shape': ("),
               close = dict.find(')', open == std::string_view::npos ? 0 : open);
  if (open == std::string_view::npos || close == std::string_view::npos) {
    return Err(ErrorCode::kCorrupt, "{}: the .npy header has no shape", where);
  }
  std::vector<int64_t> shape;
  std::string text(dict.substr(open + 10, close - open - 10));
  for (const char* at = text.c_str(); *at != '\0';) {
    char* end = nullptr;
    const int64_t dimension = std::strtoll(at, &end, 10);
    if (end == at) break;
    if (dimension < 0 || dimension > int64_t{1} << 40)
      return Err(ErrorCode::kCorrupt, "{}: .npy dimension {}", where, dimension);
    shape.push_back(dimension);
    at = end;
    while (*at == ',' || *at == ' ') ++at;
  }
  return shape;
}

}  // namespace

Result<NpyWriter> NpyWriter::Create(const std::filesystem::path& path, Type type,
                                    const std::vector<int64_t>& shape) {
  NpyWriter writer;
  writer.type_ = type;
  writer.remaining_ = 1;
  for (const int64_t dimension : shape) writer.remaining_ *= dimension;
  OCTET_ASSIGN(writer.file_, AtomicFileWriter::Create(path));
  OCTET_TRY(writer.file_.Write(Header(type, shape)));
  return writer;
}

Status NpyWriter::Append(std::span<const float> values) {
  CHECK(type_ == Type::kFloat32);
  remaining_ -= static_cast<int64_t>(values.size());
  return file_.Write(std::as_bytes(values));
}

Status NpyWriter::Append(std::span<const int32_t> values) {
  CHECK(type_ == Type::kInt32);
  remaining_ -= static_cast<int64_t>(values.size());
  return file_.Write(std::as_bytes(values));
}

Status NpyWriter::Finish() {
  if (remaining_ != 0)
    return Err(ErrorCode::kInternal, ".npy: {} values short of the announced shape", remaining_);
  return file_.Commit();
}

Result<NpyArray> ReadNpy(const std::filesystem::path& path) {
  OCTET_ASSIGN(const MappedFile file, MappedFile::Open(path));
  ByteReader reader(file.bytes(), path.string());
  OCTET_ASSIGN(const std::span<const std::byte> magic, reader.Take(kMagic.size(), "magic"));
  if (std::memcmp(magic.data(), kMagic.data(), kMagic.size()) != 0) {
    return Err(ErrorCode::kCorrupt, "{}: not a version 1.0 .npy file", path.string());
  }
  OCTET_ASSIGN(const uint16_t size, reader.Read<uint16_t>("header length"));
  OCTET_ASSIGN(const std::span<const std::byte> raw, reader.Take(size, "header"));
  const std::string_view dict(reinterpret_cast<const char*>(raw.data()), raw.size());
  const bool is_float = dict.find("'<f4'") != std::string_view::npos;
  if ((!is_float && dict.find("'<i4'") == std::string_view::npos) ||
      dict.find("'fortran_order': False") == std::string_view::npos) {
    return Err(ErrorCode::kUnsupported, "{}: expected '<f4' or '<i4' in C order, got {}",
               path.string(), dict);
  }
  NpyArray array;
  OCTET_ASSIGN(array.shape, ParseShape(dict, path.string()));
  uint64_t values = 1;
  for (const int64_t dimension : array.shape) {
    if (__builtin_mul_overflow(values, static_cast<uint64_t>(dimension), &values)) {
      return Err(ErrorCode::kCorrupt, "{}: the .npy shape overflows", path.string());
    }
  }
  if (reader.remaining() % 4 != 0 || reader.remaining() / 4 != values) {
    return Err(ErrorCode::kCorrupt, "{}: the shape needs {} values, the file has {} bytes",
               path.string(), values, reader.remaining());
  }
  OCTET_ASSIGN(const std::span<const std::byte> data, reader.Take(values * 4, "data"));
  void* target = nullptr;
  if (is_float) {
    array.floats.resize(values);
    target = array.floats.data();
  } else {
    array.ints.resize(values);
    target = array.ints.data();
  }
  if (values > 0) std::memcpy(target, data.data(), data.size());
  return array;
}

}  // namespace octet
