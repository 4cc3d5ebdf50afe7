// The kernels of the registry that are no matrix products.
#pragma once

namespace octet {

/// Adds a benchmark for each kernel that quantises rows or measures a peak of arithmetic. Attention
/// has a program of its own.
void RegisterRowKernels();

}  // namespace octet
