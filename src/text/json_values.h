// Look-ups in JSON of unknown origin: nothing throws, whatever is there.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace octet {

using Json = nlohmann::json;

/// object[key] when `object` is an object that has it and it is not null; else null.
const Json* Get(const Json& object, const char* key);
/// The same when it is of that type, else `fallback`.
std::string StringOr(const Json& object, const char* key, std::string_view fallback);
bool BoolOr(const Json& object, const char* key, bool fallback);

}  // namespace octet
