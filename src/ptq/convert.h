// Converting a checkpoint to a GGUF or a Hugging Face folder: streamed, atomic, resumable.
#pragma once

#include <filesystem>

#include "octet/convert.h"
#include "ptq/quantize.h"

namespace octet {

/// What octet::Convert promises (octet/convert.h). With `quantize`, the result is a GGUF whose
/// types it chooses, instead of options.type.
Result<ConvertReport> ConvertCheckpoint(const std::filesystem::path& source,
                                        const std::filesystem::path& destination,
                                        const ConvertOptions& options,
                                        const QuantizeChoice* quantize = nullptr);

}  // namespace octet
