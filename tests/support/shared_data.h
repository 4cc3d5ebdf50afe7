// Where the development data is, and golden results from it. Tests skip with a clear line without
// it.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace octet::testing {

/// $OCTET_SHARED_DATA, else ../shared/data beside the repository; empty when there is none.
inline std::filesystem::path SharedData() {
  if (const char* path = std::getenv("OCTET_SHARED_DATA")) return path;
  const std::filesystem::path beside = std::filesystem::path(OCTET_SOURCE_DIR) / "../shared/data";
  return std::filesystem::exists(beside) ? std::filesystem::canonical(beside)
                                         : std::filesystem::path();
}

/// Skips the running test when the data is absent.
#define OCTET_NEEDS_SHARED_DATA()             \
  if (::octet::testing::SharedData().empty()) \
  GTEST_SKIP() << "the development data (../shared/data, or $OCTET_SHARED_DATA) is not here"

/// One NAME.json + NAME.bin of the reference results (format: its README).
class Golden {
 public:
  explicit Golden(const std::filesystem::path& stem) {
    std::ifstream json(stem.string() + ".json");
    if (!json) throw std::runtime_error("no golden " + stem.string() + ".json");
    index_ = nlohmann::json::parse(json);
    std::ifstream bin(stem.string() + ".bin", std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(bin), {});
  }
  const nlohmann::json& meta() const { return index_.at("meta"); }
  bool Has(const std::string& key) const { return index_.at("arrays").contains(key); }
  std::vector<int64_t> Shape(const std::string& key) const {
    return index_.at("arrays").at(key).at("shape").get<std::vector<int64_t>>();
  }
  const nlohmann::json& arrays() const { return index_.at("arrays"); }
  template <class T>
  std::vector<T> Get(const std::string& key) const {
    const auto& entry = index_.at("arrays").at(key);
    const auto offset = entry.at("offset").get<size_t>();
    const auto bytes = entry.at("nbytes").get<size_t>();
    std::vector<T> values(bytes / sizeof(T));
    std::memcpy(values.data(), bytes_.data() + offset, bytes);
    return values;
  }

 private:
  nlohmann::json index_;
  std::vector<char> bytes_;
};

}  // namespace octet::testing
