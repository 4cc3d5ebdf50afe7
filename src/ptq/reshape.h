// A checkpoint seen in another shape: a dense model with experts (sparse upcycling), or with fewer
// key/value heads (grouped-query attention). Tensors that stay are the source's own bytes.
#pragma once

#include <cstdint>

#include "io/checkpoint.h"
#include "model/config.h"

namespace octet {

struct Reshape {
  int64_t experts = 0;  // 0: feed-forwards stay
  int64_t experts_per_token = 2;
  double noise = 0;  // std of what is added to experts, in root mean squares of the dense matrix
  double router_std = 0.02;
  uint64_t seed = 0;
  int64_t kv_heads = 0;  // 0: they stay
};

struct ReshapedCheckpoint {
  Checkpoint checkpoint;  // owns the source; without GGUF metadata, which would be of the old shape
  ModelConfig config;     // of the new shape; rows of q and k are in the source's order
};

/// `source` in the shape that `reshape` asks for:
/// - experts: each is the dense feed-forward, plus noise when asked; a new router in every layer,
/// normal
///   with router_std (Komatsuzaki et al. 2023, "Sparse Upcycling").
/// - kv_heads: the new key or value head g is the mean of the old heads that its group of query
/// heads
///   had (Ainslie et al. 2023, "GQA", section 2.1).
/// New values are stored in the format of the tensor they come from, and are a function of the
/// seed. Errors: kInvalidArgument when the source has experts already, when the old key/value heads
/// are no multiple of the new ones, and for numbers out of range.
Result<ReshapedCheckpoint> ReshapeCheckpoint(Checkpoint source, const Reshape& reshape);

}  // namespace octet
