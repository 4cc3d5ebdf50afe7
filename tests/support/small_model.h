// The model that tests know by heart: 1.4 million parameters, models/README.md.
#pragma once

#include <string>

namespace octet::testing {

inline const std::string& SmallModelPath() {
  static const std::string path =
      std::string(OCTET_SOURCE_DIR) + "/models/stories260k-mixtral.gguf";
  return path;
}

}  // namespace octet::testing
