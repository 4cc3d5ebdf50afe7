// How the blocks of a matrix are ordered in memory: as in the file, or re-tiled for one kernel
// family.
#pragma once

#include <cstdint>

namespace octet {

enum class Layout : uint8_t {
  kRowMajor,  // rows one after another, each a run of blocks: what files hold
};

}  // namespace octet
