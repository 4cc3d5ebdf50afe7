// Makes a mixture of experts of a dense model. Part of the public facade.
// How it is used: docs/guides/upcycle.md.
#pragma once

#include <cstdint>
#include <filesystem>

#include "octet/convert.h"

namespace octet {

struct UpcycleOptions {
  int64_t experts = 8;
  int64_t experts_per_token = 2;
  /// Standard deviation of what is added to each expert's weights, as a share of the dense matrix's
  /// root mean square. 0: every expert is the dense feed-forward, so the new model computes what
  /// the dense one did, whatever the router says.
  double noise = 0;
  /// Standard deviation of the new routers' weights.
  double router_std = 0.02;
  uint64_t seed = 0;
  ConvertOptions write;  // how the result is written
};

/// Sparse upcycling (Komatsuzaki et al. 2023): `source`, any readable dense checkpoint, with its
/// feed-forward copied to every expert and new routers. Streamed, atomic and resumable as Convert
/// is. Errors: kInvalidArgument for a source that has experts already and for numbers out of range;
/// else as Convert.
Result<ConvertReport> Upcycle(const std::filesystem::path& source,
                              const std::filesystem::path& destination,
                              const UpcycleOptions& options);

}  // namespace octet
