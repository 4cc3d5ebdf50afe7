#include <utility>

#include "io/checkpoint.h"

namespace octet {

Result<Checkpoint> OpenCheckpointFromBytes(std::span<const std::byte> gguf, std::string_view name) {
  OCTET_ASSIGN(auto file, ParseGguf(gguf, name));
  Checkpoint checkpoint;
  checkpoint.kind = CheckpointKind::kGguf;
  checkpoint.path = name;
  checkpoint.gguf = &file->metadata();
  checkpoint.tensors = std::move(file);
  return checkpoint;
}

}  // namespace octet
