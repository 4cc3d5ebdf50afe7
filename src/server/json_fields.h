// Reading a JSON object's fields: types and ranges are checked, and the first fault is kept.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/api_error.h"

namespace octet {

/// A request's body as an object. Faults: not UTF-8, not JSON, nested too deeply, not an object.
ApiResult<nlohmann::json> ParseBody(std::string_view body);

/// Fields that are absent or null leave their variable as it is.
class JsonFields {
 public:
  explicit JsonFields(const nlohmann::json& object) : object_(object) {}

  /// Null when absent, null, or after a fault.
  const nlohmann::json* Find(const char* name) const;
  void Bool(const char* name, bool& out);
  void Integer(const char* name, int64_t& out, int64_t low, int64_t high);
  void Integer(const char* name, int32_t& out, int32_t low, int32_t high);
  void Number(const char* name, float& out, float low, float high);
  void Text(const char* name, std::string& out);
  /// A string, or an array of at most `most` strings.
  void Texts(const char* name, std::vector<std::string>& out, size_t most);
  /// Something this server cannot do: a fault unless it is absent, null, false, empty or
  /// `harmless`.
  void Refuse(const char* name, std::string_view why, std::string_view harmless = {});

  void Fail(const std::string& name, const std::string& message);
  bool ok() const { return !error_; }
  const ApiError& error() const { return *error_; }

 private:
  const nlohmann::json& object_;
  std::optional<ApiError> error_;
};

}  // namespace octet
