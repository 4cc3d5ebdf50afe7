#include "io/mapped_tensors.h"

#include <utility>

#include "base/check.h"

namespace octet {

Result<uint64_t> CheckedBytes(const std::vector<int64_t>& shape, uint64_t element_bytes,
                              std::string_view what) {
  int64_t bytes = static_cast<int64_t>(element_bytes);
  for (const int64_t dim : shape) {
    if (dim < 0 || __builtin_mul_overflow(bytes, dim, &bytes)) {
      return Err(ErrorCode::kCorrupt, "{}: shape {} is impossible", what, ShapeString(shape));
    }
  }
  return static_cast<uint64_t>(bytes);
}

const TensorInfo* MappedTensors::Find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

const MappedTensors::Place& MappedTensors::PlaceOf(const TensorInfo& info) const {
  CHECK(&info >= tensors_.data() && &info < tensors_.data() + tensors_.size());
  return places_[static_cast<size_t>(&info - tensors_.data())];
}

Result<std::span<const std::byte>> MappedTensors::Data(const TensorInfo& info) const {
  const Place& place = PlaceOf(info);
  const File& file = files_[place.file];
  if (place.offset > file.bytes.size() || info.bytes > file.bytes.size() - place.offset) {
    return Err(
        ErrorCode::kNotFound,
        "{}: {} is at bytes {} to {}, the file ends at {}; it was opened for its header only",
        file.where, info.name, place.offset, place.offset + info.bytes, file.bytes.size());
  }
  return file.bytes.subspan(place.offset, info.bytes);
}

void MappedTensors::Release(const TensorInfo& info) const {
  const File& file = files_[PlaceOf(info).file];
  if (file.mapping.bytes().empty()) return;  // the caller's bytes are not ours to drop
  if (const auto bytes = Data(info)) file.mapping.Release(*bytes);
}

int MappedTensors::AddFile(MappedFile file) {
  const auto bytes = file.bytes();
  std::string where = file.path().string();
  files_.push_back({std::move(file), bytes, std::move(where)});
  return static_cast<int>(files_.size()) - 1;
}

int MappedTensors::AddBytes(std::span<const std::byte> bytes, std::string_view where) {
  files_.push_back({MappedFile(), bytes, std::string(where)});
  return static_cast<int>(files_.size()) - 1;
}

Status MappedTensors::Add(TensorInfo info, int file, uint64_t offset) {
  const auto [found, is_new] = index_.try_emplace(info.name, tensors_.size());
  if (!is_new) {
    const int other = places_[found->second].file;
    if (other == file) {
      return Err(ErrorCode::kCorrupt, "{}: has tensor {} twice", files_[file].where, info.name);
    }
    return Err(ErrorCode::kCorrupt,
               "{}: tensor {} was already in {}; expected parts that hold different tensors (those "
               "split for tensor parallelism are not read)",
               files_[file].where, info.name, files_[other].where);
  }
  tensors_.push_back(std::move(info));
  places_.push_back({file, offset});
  return {};
}

void MappedTensors::Skip(std::string name, std::string why) {
  skipped_.push_back({std::move(name), std::move(why)});
}

}  // namespace octet
