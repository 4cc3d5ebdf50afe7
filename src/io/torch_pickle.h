// The pickle inside a torch checkpoint, interpreted for its tensors only. Nothing is executed: a
// fixed list of names stands for the few calls torch.save makes, any other name is an error.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "quant/format.h"

namespace octet {

/// The element type of a torch storage.
struct TorchType {
  std::string_view name;  // "bfloat16"
  int32_t bytes = 0;
  bool is_float = false;
  std::optional<Format> format;  // none: nothing here reads it
};

/// One entry of the state dict: a view of a storage, nothing checked against the storage yet.
struct TorchTensor {
  std::string name;
  TorchType type;
  std::string storage_key;      // the archive entry "<prefix>/data/<key>"
  uint64_t storage_bytes = 0;   // as the pickle says
  int64_t first = 0;            // element of the storage where the view starts
  std::vector<int64_t> shape;   // at most 8 dimensions, none negative
  std::vector<int64_t> stride;  // in elements, one a dimension
};

/// The tensors of the top-level dictionary, in its order; values that are no tensors are passed
/// over. kUnsupported names an opcode or a global outside the list. Memory stays below about
/// 10 × the pickle, whose size is capped.
Result<std::vector<TorchTensor>> ReadTorchPickle(std::span<const std::byte> pickle,
                                                 std::string_view where);

}  // namespace octet
