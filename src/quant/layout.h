// How the blocks of a matrix are ordered in memory: as in the file, or re-tiled for one kernel
// family.
#pragma once

#include <cstdint>

namespace octet {

enum class Layout : uint8_t {
  kRowMajor,  // rows one after another, each a run of blocks: what files hold
  kPanel16,   // 16 rows interleaved by 32-bit words: quant/panel16.h
};
constexpr int kLayoutCount = 2;

}  // namespace octet
