// Writes the zip and pickle of a torch checkpoint piece by piece, so that tests can write wrong
// ones too.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace octet::testing {

template <class T>
std::string Raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

/// A zip archive of stored entries; every content starts at a multiple of 64, as torch aligns it.
class ZipBuilder {
 public:
  void Add(const std::string& name, const std::string& content, uint16_t method = 0) {
    const auto crc = static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(content.data()),
                                                 static_cast<uInt>(content.size())));
    const auto size = static_cast<uint32_t>(content.size());
    const auto offset = static_cast<uint32_t>(archive_.size());
    const size_t unpadded = archive_.size() + 30 + name.size() + 4;
    const std::string padding((64 - unpadded % 64) % 64, 'Z');
    const std::string common = Raw<uint16_t>(0) + Raw<uint16_t>(0) + Raw(method) +
                               Raw<uint32_t>(0) + Raw(crc) + Raw(size) + Raw(size) +
                               Raw(static_cast<uint16_t>(name.size()));
    archive_ += "PK\x03\x04" + common + Raw(static_cast<uint16_t>(4 + padding.size())) + name +
                "FB" + Raw(static_cast<uint16_t>(padding.size())) + padding + content;
    directory_ += std::string("PK\x01\x02") + Raw<uint16_t>(0) + common + Raw<uint16_t>(0) +
                  Raw<uint16_t>(0) + Raw<uint16_t>(0) + Raw<uint16_t>(0) + Raw<uint32_t>(0) +
                  Raw(offset) + name;
    ++entries_;
  }
  std::string Finish() const {
    return archive_ + directory_ + "PK\x05\x06" + Raw<uint16_t>(0) + Raw<uint16_t>(0) +
           Raw(entries_) + Raw(entries_) + Raw(static_cast<uint32_t>(directory_.size())) +
           Raw(static_cast<uint32_t>(archive_.size())) + Raw<uint16_t>(0);
  }

 private:
  std::string archive_, directory_;
  uint16_t entries_ = 0;
};

/// Pickle fragments in the opcodes torch.save uses.
namespace pickle {

inline std::string Text(const std::string& text) {
  return "X" + Raw(static_cast<uint32_t>(text.size())) + text;
}
inline std::string Int(int32_t value) { return "J" + Raw(value); }
inline std::string Call(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string Tuple(const std::vector<int32_t>& values) {
  std::string bytes = "(";
  for (const int32_t value : values) bytes += Int(value);
  return bytes + "t";
}
/// A view of storage `key`, which has `elements` of `type` ("FloatStorage").
inline std::string Tensor(const std::string& type, const std::string& key, int32_t elements,
                          const std::vector<int32_t>& shape, const std::vector<int32_t>& stride,
                          int32_t first = 0) {
  const std::string storage =
      "(" + Text("storage") + Call("torch", type) + Text(key) + Text("cpu") + Int(elements) + "tQ";
  return Call("torch._utils", "_rebuild_tensor_v2") + "(" + storage + Int(first) + Tuple(shape) +
         Tuple(stride) + "\x89" + Call("collections", "OrderedDict") + ")R" + "tR";
}
/// A dictionary of already written values.
inline std::string Dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string bytes = "\x80\x02}(";
  for (const auto& [name, value] : items) bytes += Text(name) + value;
  return bytes + "u.";
}

}  // namespace pickle

/// A checkpoint of one pickle and its storages, keyed "0", "1", ….
inline std::string TorchFile(const std::string& pickle_bytes,
                             const std::vector<std::string>& storages,
                             const std::string& byteorder = "little") {
  ZipBuilder zip;
  zip.Add("archive/data.pkl", pickle_bytes);
  zip.Add("archive/byteorder", byteorder);
  for (size_t i = 0; i < storages.size(); ++i)
    zip.Add("archive/data/" + std::to_string(i), storages[i]);
  zip.Add("archive/version", "3\n");
  return zip.Finish();
}

}  // namespace octet::testing
