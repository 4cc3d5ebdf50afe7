#include "io/torch_checkpoint.h"

#include <zlib.h>

#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "io/torch_pickle.h"
#include "io/zip.h"

namespace octet {
namespace {

using Directory = std::map<std::string, ZipEntry, std::less<>>;

std::string_view Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Status CheckIsZip(std::span<const std::byte> bytes, std::string_view where) {
  const std::string_view text = Text(bytes);
  if (text.starts_with("PK\x03\x04")) return {};
  if (text.starts_with("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9")) {
    return Err(ErrorCode::kUnsupported,
               "{}: torch's format from before version 1.6, which is not a zip archive; load it in "
               "a current torch and torch.save it again",
               where);
  }
  if (text.starts_with("version https://git-lfs")) {
    return Err(ErrorCode::kCorrupt,
               "{}: a Git LFS pointer, not the file itself; fetch it with \"git lfs pull\"", where);
  }
  return Err(ErrorCode::kCorrupt, "{}: expected a zip archive written by torch.save", where);
}

// The archive's one folder, named after the file it was first saved as: the prefix of data.pkl.
Result<std::string> FindPrefix(const Directory& directory, std::string_view where) {
  std::optional<std::string> prefix;
  for (const auto& [name, entry] : directory) {
    constexpr std::string_view kPickle = "/data.pkl";
    if (!name.ends_with(kPickle)) continue;
    if (prefix) return Err(ErrorCode::kCorrupt, "{}: has more than one data.pkl", where);
    prefix = name.substr(0, name.size() - kPickle.size());
  }
  if (!prefix) {
    return Err(ErrorCode::kUnsupported, "{}: a zip archive without data.pkl, so not by torch.save",
               where);
  }
  return *prefix;
}

Status CheckByteOrder(std::span<const std::byte> bytes, const Directory& directory,
                      const std::string& prefix, std::string_view where) {
  const auto found = directory.find(prefix + "/byteorder");
  if (found == directory.end()) return {};  // written before torch 2.1: the writer's, taken little
  const std::string_view order = Text(bytes.subspan(found->second.offset, found->second.bytes));
  if (order == "little") return {};
  return Err(ErrorCode::kUnsupported, "{}: byte order \"{}\", expected \"little\"", where,
             order.substr(0, 16));
}

Result<std::span<const std::byte>> PickleBytes(std::span<const std::byte> bytes,
                                               const ZipEntry& entry, std::string_view where) {
  const auto pickle = bytes.subspan(entry.offset, entry.bytes);
  if (entry.crc32 != 0) {  // torch can be told not to compute checksums; they are then zero
    const auto crc =
        crc32_z(0, reinterpret_cast<const unsigned char*>(pickle.data()), pickle.size());
    if (crc != entry.crc32) {
      return Err(ErrorCode::kCorrupt, "{}: data.pkl has checksum {:08x}, expected {:08x}", where,
                 crc, entry.crc32);
    }
  }
  return pickle;
}

// Dense and row-major; strides of dimensions of one element do not matter.
bool IsDense(const TorchTensor& tensor) {
  int64_t expected = 1;
  for (size_t d = tensor.shape.size(); d-- > 0;) {
    if (tensor.shape[d] == 0) return true;
    if (tensor.shape[d] != 1 && tensor.stride[d] != expected) return false;
    expected *= tensor.shape[d];  // CheckedBytes has bounded the product
  }
  return true;
}

struct Archive {
  std::span<const std::byte> bytes;
  std::string_view where;
  Directory directory;
  std::string prefix;
};

// Why the tensor cannot be used, or an empty string.
std::string WhyUnusable(const TorchTensor& tensor) {
  if (!tensor.type.format) return fmt::format("type {}", tensor.type.name);
  if (!IsDense(tensor)) {
    return fmt::format("strides {} for shape {}", ShapeString(tensor.stride),
                       ShapeString(tensor.shape));
  }
  return {};
}

// The byte offset in the archive, after checking the tensor against its storage and the storage
// against its entry.
Result<uint64_t> Locate(const Archive& archive, const TorchTensor& tensor, uint64_t tensor_bytes) {
  const auto found = archive.directory.find(archive.prefix + "/data/" + tensor.storage_key);
  if (found == archive.directory.end()) {
    return Err(ErrorCode::kCorrupt, "{}: {} is in storage {}, which the archive does not have",
               archive.where, tensor.name, tensor.storage_key);
  }
  const ZipEntry& entry = found->second;
  if (entry.bytes != tensor.storage_bytes) {
    return Err(ErrorCode::kCorrupt, "{}: storage {} of {} has {} bytes, expected {}", archive.where,
               tensor.storage_key, tensor.name, entry.bytes, tensor.storage_bytes);
  }
  uint64_t first = 0;
  if (__builtin_mul_overflow(static_cast<uint64_t>(tensor.first), tensor.type.bytes, &first) ||
      first > entry.bytes || tensor_bytes > entry.bytes - first) {
    return Err(ErrorCode::kCorrupt,
               "{}: {} {} starts at element {} of storage {}, which has only {} bytes",
               archive.where, tensor.name, ShapeString(tensor.shape), tensor.first,
               tensor.storage_key, entry.bytes);
  }
  return entry.offset + first;
}

Status AddTensor(MappedTensors& into, int file, const Archive& archive, TorchTensor& tensor,
                 OpenMode mode) {
  OCTET_ASSIGN(const uint64_t bytes,
               CheckedBytes(tensor.shape, static_cast<uint64_t>(tensor.type.bytes),
                            fmt::format("{}: {}", archive.where, tensor.name)));
  if (std::string why = WhyUnusable(tensor); !why.empty()) {
    if (mode == OpenMode::kHeadersOnly || !tensor.type.is_float) {
      into.Skip(std::move(tensor.name), std::move(why));
      return {};
    }
    return Err(ErrorCode::kUnsupported,
               "{}: {} has {}; expected float32, float16 or bfloat16, dense and row-major (in "
               "torch: x.float().contiguous())",
               archive.where, tensor.name, why);
  }
  OCTET_ASSIGN(const uint64_t offset, Locate(archive, tensor, bytes));
  return into.Add({std::move(tensor.name), *tensor.type.format, std::move(tensor.shape), bytes},
                  file, offset);
}

Status AddFileTensors(MappedTensors& into, int file, OpenMode mode) {
  const std::string where = into.file_name(file);
  Archive archive = {into.file_bytes(file), where, {}, {}};
  OCTET_TRY(CheckIsZip(archive.bytes, where));
  OCTET_ASSIGN(archive.directory, ReadZipDirectory(archive.bytes, where));
  OCTET_ASSIGN(archive.prefix, FindPrefix(archive.directory, where));
  OCTET_TRY(CheckByteOrder(archive.bytes, archive.directory, archive.prefix, where));
  const ZipEntry& entry = archive.directory.find(archive.prefix + "/data.pkl")->second;
  OCTET_ASSIGN(const auto pickle, PickleBytes(archive.bytes, entry, where));
  OCTET_ASSIGN(std::vector<TorchTensor> tensors, ReadTorchPickle(pickle, where));
  for (TorchTensor& tensor : tensors) {
    OCTET_TRY(AddTensor(into, file, archive, tensor, mode));
  }
  return {};
}

}  // namespace

Status AddTorchCheckpoint(MappedTensors& into, const std::filesystem::path& path, OpenMode mode) {
  OCTET_ASSIGN(MappedFile file, MappedFile::Open(path));
  return AddFileTensors(into, into.AddFile(std::move(file)), mode);
}

Status AddTorchCheckpoint(MappedTensors& into, std::span<const std::byte> bytes,
                          std::string_view where, OpenMode mode) {
  return AddFileTensors(into, into.AddBytes(bytes, where), mode);
}

}  // namespace octet
