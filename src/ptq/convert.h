// Converting a checkpoint to a GGUF or a Hugging Face folder: streamed, atomic, resumable.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include "io/checkpoint.h"
#include "octet/convert.h"
#include "ops/pack.h"
#include "ptq/quantize.h"
#include "ptq/reshape.h"
#include "text/tokenizer.h"

namespace octet {

/// What a conversion changes beside the container.
struct ConvertChanges {
  const QuantizeChoice* quantize = nullptr;  // chooses the types of a GGUF, instead of options.type
  const KernelTable* pack_for = nullptr;     // the GGUF's matrices are re-tiled for these
  const Reshape* reshape = nullptr;          // the model's shape
};

/// What octet::Convert promises (octet/convert.h).
Result<ConvertReport> ConvertCheckpoint(const std::filesystem::path& source,
                                        const std::filesystem::path& destination,
                                        const ConvertOptions& options,
                                        const ConvertChanges& changes = {});

/// What to convert, when it is open already; its path stands for it in the note of an unfinished
/// job.
struct ConvertSource {
  Checkpoint checkpoint;
  std::unique_ptr<Tokenizer> tokenizer;      // null: none
  std::string_view activity = "converting";  // on the progress bar
  std::optional<ModelConfig> config;         // none: the checkpoint says it
};
Result<ConvertReport> ConvertOpened(ConvertSource source, const std::filesystem::path& destination,
                                    const ConvertOptions& options,
                                    const ConvertChanges& changes = {});

}  // namespace octet
