#include "train/reference.h"

#include <cstring>
#include <string>
#include <system_error>

#include "base/checksum.h"
#include "base/file.h"
#include "base/mapped_file.h"

namespace octet {
namespace {

constexpr uint64_t kMagic = 0x313046455254434full;  // "OCTREF01"

struct Header {
  uint64_t magic, data, model, checksum;  // the last of what follows
};

}  // namespace

std::optional<std::vector<double>> ReadReference(const std::filesystem::path& path,
                                                 const ReferenceKey& key, size_t count,
                                                 bool any_model) {
  const auto file = MappedFile::Open(path);
  if (!file || file->bytes().size() != sizeof(Header) + count * sizeof(double)) return {};
  Header header;
  std::memcpy(&header, file->bytes().data(), sizeof header);
  const auto values = file->bytes().subspan(sizeof header);
  if (header.magic != kMagic || header.data != key.data ||
      (header.model != key.model && !any_model) || header.checksum != Checksum(values))
    return {};
  std::vector<double> log_probs(count);
  std::memcpy(log_probs.data(), values.data(), values.size());
  return log_probs;
}

Status WriteReference(const std::filesystem::path& path, const ReferenceKey& key,
                      std::span<const double> log_probs) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  const Header header = {kMagic, key.data, key.model, Checksum(std::as_bytes(log_probs))};
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes.append(reinterpret_cast<const char*>(log_probs.data()), log_probs.size_bytes());
  return WriteFileAtomically(path, bytes);
}

}  // namespace octet
