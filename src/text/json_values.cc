#include "text/json_values.h"

namespace octet {

const Json* Get(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string StringOr(const Json& object, const char* key, std::string_view fallback) {
  const Json* value = Get(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string(fallback);
}

bool BoolOr(const Json& object, const char* key, bool fallback) {
  const Json* value = Get(object, key);
  return value != nullptr && value->is_boolean() ? value->get<bool>() : fallback;
}

}  // namespace octet
