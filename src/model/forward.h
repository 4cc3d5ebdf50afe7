// The one forward pass: prefill, decode, mixed, scoring and training all go through it.
#pragma once

#include "model/batch.h"
#include "model/kv_cache.h"
#include "model/observer.h"
#include "model/weights.h"
#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

class Tape;

struct ForwardOptions {
  Observer* observer = nullptr;
  Tape* tape = nullptr;  // keeps what the backward pass reads (model/tape.h); begun with the batch
  // Whether the last layer ends for rows, too, whose output nobody reads: layers that stand for
  // more of their kind.
  bool every_row = false;
};

/// Logits [R, vocab] of batch.logit_rows, in context.scratch: valid until the caller's Arena::Scope
/// ends. Appends K and V of every row to `kv`, which must have room. Token ids and positions must
/// be in range (the engine checks requests). The bits of a row depend only on its own sequence's
/// tokens.
View<float, 2> Forward(const Model& model, const Batch& batch, KvSource& kv,
                       const ForwardOptions& options, Context& context);

}  // namespace octet
