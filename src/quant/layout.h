// How the blocks of a matrix are ordered in memory: as in the file, or re-tiled for one kernel
// family.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "quant/format.h"

namespace octet {

enum class Layout : uint8_t {
  kRowMajor,  // rows one after another, each a run of blocks: what files hold
  kPanel16,   // 16 rows interleaved by 32-bit words: quant/panel16.h
};
constexpr int kLayoutCount = 2;

/// What packed files call a layout (docs/formats/packed.md): "panel16.1". The number is raised
/// whenever the same values give other bytes, so that a file from before is refused.
std::string_view LayoutName(Layout layout);
std::optional<Layout> LayoutFromName(std::string_view name);

/// Whether matrices of the format can be in the layout.
bool LayoutHolds(Layout layout, Format format);

}  // namespace octet
