#include "octet/convert.h"

#include <array>
#include <utility>

#include "api/guard.h"
#include "ptq/convert.h"

namespace octet {
namespace {

constexpr std::array<std::pair<std::string_view, ConvertType>, 5> kTypes = {
    {{"keep", ConvertType::kKeep},
     {"f32", ConvertType::kF32},
     {"f16", ConvertType::kF16},
     {"bf16", ConvertType::kBf16},
     {"q8_0", ConvertType::kQ8_0}}};

}  // namespace

Result<ConvertReport> Convert(const std::filesystem::path& source,
                              const std::filesystem::path& destination,
                              const ConvertOptions& options) {
  return Guarded([&] {
    Reshape reshape;
    reshape.kv_heads = options.kv_heads;
    ConvertChanges changes;
    if (options.kv_heads != 0) changes.reshape = &reshape;
    return ConvertCheckpoint(source, destination, options, changes);
  });
}

Result<ConvertType> ConvertTypeFromName(std::string_view name) {
  for (const auto& [type_name, type] : kTypes) {
    if (type_name == name) return type;
  }
  return Err(ErrorCode::kInvalidArgument,
             "\"{}\" is no type to convert to; expected keep, f32, f16, bf16 or q8_0", name);
}

}  // namespace octet
