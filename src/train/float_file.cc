#include "train/float_file.h"

#include <cstring>
#include <limits>
#include <utility>

#include "io/safetensors_writer.h"

namespace octet {

Status WriteFloats(const std::filesystem::path& folder, const std::vector<NamedFloats>& tensors) {
  std::vector<TensorInfo> infos;
  for (const NamedFloats& t : tensors)
    infos.push_back({t.name, Format::kF32, t.shape, t.values.size_bytes()});
  SafetensorsWriterOptions options;
  options.max_shard_bytes = std::numeric_limits<uint64_t>::max();
  OCTET_ASSIGN(SafetensorsWriter writer,
               SafetensorsWriter::Create(folder, std::move(infos), options));
  for (const NamedFloats& t : tensors) OCTET_TRY(writer.Append(std::as_bytes(t.values)));
  return writer.Commit();
}

Status ReadFloats(const TensorSource& source, const std::filesystem::path& where,
                  const std::string& name, std::span<float> out) {
  const TensorInfo* info = source.Find(name);
  if (info == nullptr || info->format != Format::kF32 || info->bytes != out.size_bytes()) {
    return Err(ErrorCode::kCorrupt,
               "{}: {} is {}, expected {} float values; the checkpoint is of another model",
               where.string(), name, info == nullptr ? "missing" : "of another size", out.size());
  }
  OCTET_ASSIGN(const auto bytes, source.Data(*info));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return {};
}

}  // namespace octet
