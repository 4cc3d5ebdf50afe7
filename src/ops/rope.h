// Rotary position embedding (Su et al. 2021).
#pragma once

#include <cstdint>
#include <span>

#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

/// Which dimensions of a head turn together. The two are the same model with rows of wq and wk
/// permuted.
enum class RopePairing : uint8_t {
  kInterleaved,  // (2i, 2i+1): Mistral's own files, GGUF
  kHalves,       // (i, i + head_dim/2): Hugging Face
};

/// cos and sin of every row's angles, [T, head_dim/2] each, in the arena: computed once a step and
/// shared by all layers. Angle i of position p is p · scale · theta^(-2i/head_dim), in double.
struct RopeTable {
  View<const float, 2> cos, sin;
};
RopeTable MakeRopeTable(std::span<const int32_t> positions, int64_t head_dim, double theta,
                        double scale, Context& context);

/// Turns every head of x [T, heads · head_dim] in place.
void Rope(View<float, 2> x, const RopeTable& table, RopePairing pairing, Context& context);

}  // namespace octet
