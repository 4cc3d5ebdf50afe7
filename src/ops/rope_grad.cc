#include "ops/rope_grad.h"

#include "ops/rows.h"

namespace octet {

void RopeGrad(View<float, 2> d_x, const RopeTable& table, RopePairing pairing, Context& context) {
  const Arena::Scope scope(context.scratch);
  auto back = context.scratch.Matrix<float>(table.sin.shape[0], table.sin.shape[1]);
  ForEachRow(back.shape[0], back.shape[1], context, [&](int64_t t) {
    for (int64_t i = 0; i < back.shape[1]; ++i) back[t][i] = -table.sin[t][i];
  });
  Rope(d_x, {table.cos, back}, pairing, context);
}

}  // namespace octet
