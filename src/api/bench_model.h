// The models that benchmarks run on without a file.
#pragma once

#include "base/result.h"
#include "io/checkpoint.h"
#include "octet/bench.h"

namespace octet {

/// options.synthetic, with options.layers of its layers and the types of options.type.
Result<Checkpoint> SyntheticModel(const BenchOptions& options);

}  // namespace octet
