// What a reference model thinks of every completion of a source, kept on disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"

namespace octet {

/// What a file of them was computed from.
struct ReferenceKey {
  uint64_t data = 0;   // tokens, and where they are cut
  uint64_t model = 0;  // the reference model
};

/// Σ log p of `count` completions; none when the file is absent, damaged, or of other data.
/// `any_model`: whatever model they are of.
std::optional<std::vector<double>> ReadReference(const std::filesystem::path& path,
                                                 const ReferenceKey& key, size_t count,
                                                 bool any_model);
Status WriteReference(const std::filesystem::path& path, const ReferenceKey& key,
                      std::span<const double> log_probs);

}  // namespace octet
