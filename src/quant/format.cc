#include "quant/format.h"

#include <algorithm>
#include <cctype>

#include "quant/float_formats.h"
#include "quant/iq4_nl.h"
#include "quant/iq4_xs.h"
#include "quant/q2_k.h"
#include "quant/q3_k.h"
#include "quant/q4_0.h"
#include "quant/q4_1.h"
#include "quant/q4_k.h"
#include "quant/q5_0.h"
#include "quant/q5_1.h"
#include "quant/q5_k.h"
#include "quant/q6_k.h"
#include "quant/q8_0.h"

namespace octet {
namespace {

constexpr FormatInfo kFormats[kFormatCount] = {
#define OCTET_FORMAT(id, name, ggml, values, bytes) \
  {Format::k##id, name, ggml, values, bytes, Decode##id, Encode##id, EncodeWeighted##id},
#include "quant/formats.def"
#undef OCTET_FORMAT
};

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::toupper(static_cast<unsigned char>(x)) ==
           std::toupper(static_cast<unsigned char>(y));
  });
}

}  // namespace

const FormatInfo& Info(Format format) { return kFormats[static_cast<int>(format)]; }

std::optional<Format> FormatFromName(std::string_view name) {
  for (const FormatInfo& info : kFormats)
    if (EqualsIgnoringCase(info.name, name)) return info.format;
  return std::nullopt;
}

std::optional<Format> FormatFromGgml(uint32_t ggml_type) {
  for (const FormatInfo& info : kFormats)
    if (info.ggml_type == ggml_type) return info.format;
  return std::nullopt;
}

}  // namespace octet
