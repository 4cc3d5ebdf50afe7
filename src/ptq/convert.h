// Converting a checkpoint to a GGUF or a Hugging Face folder: streamed, atomic, resumable.
#pragma once

#include <filesystem>

#include "octet/convert.h"

namespace octet {

/// What octet::Convert promises (octet/convert.h).
Result<ConvertReport> ConvertCheckpoint(const std::filesystem::path& source,
                                        const std::filesystem::path& destination,
                                        const ConvertOptions& options);

}  // namespace octet
