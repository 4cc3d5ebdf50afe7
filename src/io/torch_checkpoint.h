// torch.save checkpoints (.pth, .pt): a zip of a pickle and raw storages. Format:
// docs/formats/torch.md.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include "base/result.h"
#include "io/mapped_tensors.h"

namespace octet {

/// Adds the tensors of one checkpoint to `into`, mapped. Only dense row-major views can be mapped:
/// a float tensor with other strides or of a type other than float32, float16 and bfloat16 is
/// kUnsupported (headers-only: skipped()); integer tensors go to skipped(). The directory is at the
/// file's end, so that a truncated file cannot be opened even for its headers.
Status AddTorchCheckpoint(MappedTensors& into, const std::filesystem::path& path, OpenMode mode);

/// The same over bytes in memory, which must outlive `into`; `where` is named in errors.
Status AddTorchCheckpoint(MappedTensors& into, std::span<const std::byte> bytes,
                          std::string_view where, OpenMode mode);

}  // namespace octet
