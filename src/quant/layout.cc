#include "quant/layout.h"

#include "quant/panel16.h"

namespace octet {

std::string_view LayoutName(Layout layout) {
  switch (layout) {
    case Layout::kRowMajor:
      return "rows";
    case Layout::kPanel16:
      return "panel16.1";
  }
  return "";
}

std::optional<Layout> LayoutFromName(std::string_view name) {
  for (int i = 0; i < kLayoutCount; ++i) {
    if (LayoutName(static_cast<Layout>(i)) == name) return static_cast<Layout>(i);
  }
  return std::nullopt;
}

bool LayoutHolds(Layout layout, Format format) {
  switch (layout) {
    case Layout::kRowMajor:
      return true;
    case Layout::kPanel16:
      return FindPanel16(format) != nullptr;
  }
  return false;
}

}  // namespace octet
