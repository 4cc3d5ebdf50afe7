#include "octet/quantize.h"

#include "api/guard.h"
#include "ptq/quantize.h"
#include "ptq/recipe.h"

namespace octet {

Result<QuantizeReport> Quantize(const std::filesystem::path& source,
                                const std::filesystem::path& destination,
                                const QuantizeOptions& options) {
  return Guarded([&] { return QuantizeCheckpoint(source, destination, options); });
}

std::vector<std::string_view> QuantizeTypes() {
  std::vector<std::string_view> names;
  for (const RecipeInfo& info : Recipes()) names.push_back(info.name);
  return names;
}

}  // namespace octet
