// Attention by span kernels (AttendSpanArgs in kernels/kernel.h): what Attention does for
// Arithmetic::kFast.
#pragma once

#include <span>

#include "ops/attention.h"

namespace octet {

/// The kernel for these pages and heads, or nullptr. Depends on the model, the page format and the
/// machine alone, so all of a sequence's steps take the same.
const KernelDescriptor* SpanKernel(const AttentionShape& shape, Format kv_format,
                                   const Context& context);

/// Attention over segments that all have the format of `kernel`. Few rows against many keys are
/// shared by threads in spans of kSpanKeys absolute positions, merged in order; long prompts in
/// tiles of rows. A row's bits are the same either way.
void SpanAttention(const KernelDescriptor& kernel, View<const float, 2> q,
                   const AttentionShape& shape, std::span<const AttentionSegment> segments,
                   View<float, 2> out, Context& context);

}  // namespace octet
