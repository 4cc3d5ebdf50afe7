#include "ops/embed_grad.h"

#include <algorithm>

#include "ops/rows.h"

namespace octet {

void EmbedGrad(std::span<const int32_t> tokens, View<const float, 2> d_x, View<float, 2> d_table,
               Context& context) {
  constexpr int64_t kColumns = 64;  // four cache lines of a row
  const int64_t d = d_table.shape[1];
  context.pool.ParallelFor((d + kColumns - 1) / kColumns, [&](int64_t task, int) {
    const int64_t begin = task * kColumns, end = std::min(d, begin + kColumns);
    for (size_t t = 0; t < tokens.size(); ++t) {
      const float* in = d_x[static_cast<int64_t>(t)].data + begin;
      ScaleRow(in, 1.0f, end - begin, true, d_table[tokens[t]].data + begin, context);
    }
  });
}

}  // namespace octet
