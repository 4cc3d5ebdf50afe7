#include <limits>
#include <utility>

#include "io/gguf.h"

namespace octet {
namespace {

template <class T>
const T* Get(const std::map<std::string, GgufValue, std::less<>>& values, std::string_view key) {
  const auto it = values.find(key);
  return it == values.end() ? nullptr : std::get_if<T>(&it->second);
}

bool FitsInt32(int64_t n) {
  return n >= std::numeric_limits<int32_t>::min() && n <= std::numeric_limits<int32_t>::max();
}

/// The type other programs use for such a value.
struct UsualType {
  GgufType operator()(bool) const { return GgufType::kBool; }
  GgufType operator()(int64_t n) const {
    return FitsInt32(n) ? GgufType::kInt32 : GgufType::kInt64;
  }
  GgufType operator()(uint64_t n) const {
    return n <= std::numeric_limits<uint32_t>::max() ? GgufType::kUint32 : GgufType::kUint64;
  }
  GgufType operator()(double) const { return GgufType::kFloat32; }
  GgufType operator()(const std::string&) const { return GgufType::kString; }
  GgufType operator()(const std::vector<bool>&) const { return GgufType::kBool; }
  GgufType operator()(const std::vector<int64_t>& v) const {
    for (const int64_t n : v) {
      if (!FitsInt32(n)) return GgufType::kInt64;
    }
    return GgufType::kInt32;
  }
  GgufType operator()(const std::vector<double>&) const { return GgufType::kFloat32; }
  GgufType operator()(const std::vector<std::string>&) const { return GgufType::kString; }
};

}  // namespace

std::optional<uint64_t> GgufMetadata::Uint(std::string_view key) const {
  if (const auto* u = Get<uint64_t>(values_, key)) return *u;
  const auto* i = Get<int64_t>(values_, key);
  if (i == nullptr || *i < 0) return std::nullopt;
  return static_cast<uint64_t>(*i);
}

std::optional<double> GgufMetadata::Float(std::string_view key) const {
  if (const auto* d = Get<double>(values_, key)) return *d;
  if (const auto* u = Get<uint64_t>(values_, key)) return static_cast<double>(*u);
  if (const auto* i = Get<int64_t>(values_, key)) return static_cast<double>(*i);
  return std::nullopt;
}

std::optional<bool> GgufMetadata::Bool(std::string_view key) const {
  if (const auto* b = Get<bool>(values_, key)) return *b;
  const auto number = Uint(key);
  if (!number || *number > 1) return std::nullopt;
  return *number == 1;
}

const std::string* GgufMetadata::String(std::string_view key) const {
  return Get<std::string>(values_, key);
}
const std::vector<std::string>* GgufMetadata::Strings(std::string_view key) const {
  return Get<std::vector<std::string>>(values_, key);
}
const std::vector<double>* GgufMetadata::Floats(std::string_view key) const {
  return Get<std::vector<double>>(values_, key);
}
const std::vector<int64_t>* GgufMetadata::Ints(std::string_view key) const {
  return Get<std::vector<int64_t>>(values_, key);
}

void GgufMetadata::Set(std::string_view key, GgufValue value, GgufType type) {
  values_.insert_or_assign(std::string(key), std::move(value));
  types_.insert_or_assign(std::string(key), type);
}

GgufType GgufMetadata::TypeOf(std::string_view key) const {
  if (const auto it = types_.find(key); it != types_.end()) return it->second;
  const auto it = values_.find(key);
  return it == values_.end() ? GgufType::kUint32 : std::visit(UsualType(), it->second);
}

}  // namespace octet
