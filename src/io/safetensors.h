// safetensors files. Format: docs/formats/safetensors.md.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include "base/result.h"
#include "io/mapped_tensors.h"

namespace octet {

/// Adds one file's tensors to `into`. Every offset is checked before a tensor is listed. Integer
/// and boolean tensors go to skipped(); a float type other than F32, F16 and BF16 is kUnsupported
/// (headers-only: skipped() too), because a model that has one needs it.
Status AddSafetensors(MappedTensors& into, const std::filesystem::path& path, OpenMode mode);

/// The same over bytes in memory, which must outlive `into`; `where` is named in errors.
Status AddSafetensors(MappedTensors& into, std::span<const std::byte> bytes, std::string_view where,
                      OpenMode mode);

}  // namespace octet
