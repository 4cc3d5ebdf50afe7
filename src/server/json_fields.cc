#include "server/json_fields.h"

#include <fmt/format.h>

#include <cmath>

#include "io/json.h"
#include "text/utf8.h"

namespace octet {
namespace {

constexpr int kDeepest = 32;

std::string Shown(const nlohmann::json& value) {
  constexpr size_t kLongest = 60;
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "…";
  return text;
}

}  // namespace

ApiResult<nlohmann::json> ParseBody(std::string_view body) {
  if (!IsValidUtf8(body)) return tl::unexpected(ApiError{400, "the body is not valid UTF-8"});
  auto json = ParseJson(body, "the body", kDeepest);
  if (!json) return tl::unexpected(ApiError{400, json.error().message});
  if (!json->is_object()) {
    return tl::unexpected(ApiError{400, "the body is not a JSON object: " + Shown(*json)});
  }
  return *std::move(json);
}

void JsonFields::Fail(const std::string& name, const std::string& message) {
  if (error_) return;
  error_ = ApiError{400, message, name};
}

const nlohmann::json* JsonFields::Find(const char* name) const {
  const auto found = object_.find(name);
  if (error_ || found == object_.end() || found->is_null()) return nullptr;
  return &*found;
}

void JsonFields::Bool(const char* name, bool& out) {
  const nlohmann::json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_boolean()) {
    return Fail(name, fmt::format("{} is {}, expected true or false", name, Shown(*value)));
  }
  out = value->get<bool>();
}

void JsonFields::Integer(const char* name, int64_t& out, int64_t low, int64_t high) {
  const nlohmann::json* value = Find(name);
  if (value == nullptr) return;
  const auto fault = [&] {
    Fail(name, fmt::format("{} is {}, expected a whole number from {} to {}", name, Shown(*value),
                           low, high));
  };
  if (!value->is_number()) return fault();
  int64_t number = 0;
  if (value->is_number_unsigned()) {
    const auto large = value->get<uint64_t>();
    if (large > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return fault();
    number = static_cast<int64_t>(large);
  } else if (value->is_number_integer()) {
    number = value->get<int64_t>();
  } else {
    const auto real = value->get<double>();  // some clients write 5 as 5.0
    if (!(std::abs(real) < 0x1p53) || real != std::floor(real)) return fault();
    number = static_cast<int64_t>(real);
  }
  if (number < low || number > high) return fault();
  out = number;
}

void JsonFields::Integer(const char* name, int32_t& out, int32_t low, int32_t high) {
  int64_t wide = out;
  Integer(name, wide, int64_t{low}, int64_t{high});
  out = static_cast<int32_t>(wide);
}

void JsonFields::Number(const char* name, float& out, float low, float high) {
  const nlohmann::json* value = Find(name);
  if (value == nullptr) return;
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  if (!(number >= low && number <= high)) {
    return Fail(name, fmt::format("{} is {}, expected a number from {} to {}", name, Shown(*value),
                                  low, high));
  }
  out = static_cast<float>(number);
}

void JsonFields::Text(const char* name, std::string& out) {
  const nlohmann::json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_string()) {
    return Fail(name, fmt::format("{} is {}, expected a string", name, Shown(*value)));
  }
  out = value->get<std::string>();
}

void JsonFields::Texts(const char* name, std::vector<std::string>& out, size_t most) {
  const nlohmann::json* value = Find(name);
  if (value == nullptr) return;
  std::vector<std::string> texts;
  const auto add = [&](const nlohmann::json& item) {
    if (!item.is_string() || item.get_ref<const std::string&>().empty()) {
      return Fail(
          name, fmt::format("{} holds {}, expected strings that are not empty", name, Shown(item)));
    }
    texts.push_back(item.get<std::string>());
  };
  if (value->is_array()) {
    if (value->size() > most) {
      return Fail(name,
                  fmt::format("{} has {} strings, at most {} work", name, value->size(), most));
    }
    for (const nlohmann::json& item : *value) add(item);
  } else {
    add(*value);
  }
  if (ok()) out = std::move(texts);
}

void JsonFields::Refuse(const char* name, std::string_view why, std::string_view harmless) {
  const nlohmann::json* value = Find(name);
  if (value == nullptr || value->is_null()) return;
  if (value->is_boolean() && !value->get<bool>()) return;
  if ((value->is_structured() || value->is_string()) && value->empty()) return;
  if (value->is_string() &&
      (value->get_ref<const std::string&>().empty() || *value == std::string(harmless))) {
    return;
  }
  Fail(name, fmt::format("{}: {}", name, why));
}

}  // namespace octet
