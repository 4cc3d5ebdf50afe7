// GGUF v2 and v3, one file or a split set. Format: docs/formats/gguf.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "io/tensor_source.h"

namespace octet {

/// How a metadata value is stored; the numbers are the file's.
enum class GgufType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

/// A metadata value. Integers of every width become int64/uint64, both floats double; arrays are
/// flat.
using GgufValue = std::variant<bool, int64_t, uint64_t, double, std::string, std::vector<bool>,
                               std::vector<int64_t>, std::vector<double>, std::vector<std::string>>;

/// Key → value, with lookups that convert between number kinds; a missing key or other kind is
/// nullopt/null.
class GgufMetadata {
 public:
  std::optional<uint64_t> Uint(std::string_view key) const;
  std::optional<double> Float(std::string_view key) const;
  std::optional<bool> Bool(std::string_view key) const;
  const std::string* String(std::string_view key) const;
  const std::vector<std::string>* Strings(std::string_view key) const;
  const std::vector<double>* Floats(std::string_view key) const;
  const std::vector<int64_t>* Ints(std::string_view key) const;

  std::map<std::string, GgufValue, std::less<>>& values() { return values_; }
  const std::map<std::string, GgufValue, std::less<>>& values() const { return values_; }

  /// Sets a value together with the type it has in the file (of the elements, for an array).
  void Set(std::string_view key, GgufValue value, GgufType type);
  /// The type a value (an array's elements) has, or is to have, in a file: the one it was set or
  /// read with, else the usual one for its kind: 32 bits where they hold it.
  GgufType TypeOf(std::string_view key) const;

 private:
  std::map<std::string, GgufValue, std::less<>> values_;
  std::map<std::string, GgufType, std::less<>> types_;
};

/// Names of the layouts a packed file uses: quant/layout.h.
inline constexpr char kPackedLayoutsKey[] = "octet.packed.layouts";

class GgufFile : public TensorSource {
 public:
  virtual const GgufMetadata& metadata() const = 0;
  /// Parts of a split set that are not there (headers-only opening), by file name.
  virtual const std::vector<std::string>& missing_files() const = 0;
};

/// `path` is the file, or any part of a split set (-00001-of-0000N.gguf), whose siblings are found.
Result<std::unique_ptr<GgufFile>> OpenGguf(const std::filesystem::path& path,
                                           OpenMode mode = OpenMode::kFull);
/// The same over bytes in memory, which must outlive it; `where` is named in errors. Fuzzers use it
/// too.
Result<std::unique_ptr<GgufFile>> ParseGguf(std::span<const std::byte> bytes,
                                            std::string_view where,
                                            OpenMode mode = OpenMode::kFull);

}  // namespace octet
