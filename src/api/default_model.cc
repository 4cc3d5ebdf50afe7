#include "octet/default_model.h"

// Defined in default_model_data.S.
extern "C" const std::byte octet_default_model_begin[];
extern "C" const std::byte octet_default_model_end[];

namespace octet {

std::span<const std::byte> DefaultModelBytes() {
  return {octet_default_model_begin, octet_default_model_end};
}

std::string_view DefaultModelName() { return OCTET_DEFAULT_MODEL_NAME; }

}  // namespace octet
