#include "ops/swiglu.h"

#include <algorithm>

#include "ops/rows.h"

namespace octet {
namespace {

constexpr int64_t kPiece = 4096;  // floats

}  // namespace

void SwiGlu(View<float, 2> gate, View<const float, 2> up, Context& context) {
  const PartScope part(context.profile, StepPart::kSwiGlu);
  const int64_t d = gate.shape[1];
  constexpr int64_t kExpCost = 2;  // in floats of plain work
  // Pieces of a row, so that threads share the few rows of a decode step.
  const int64_t pieces = (d + kPiece - 1) / kPiece;
  ForEachRow(gate.shape[0] * pieces, std::min(d, kPiece) * kExpCost, context, [&](int64_t i) {
    const int64_t s = i / pieces, first = i % pieces * kPiece;
    context.kernels.swiglu->swiglu(
        {gate[s].data + first, up[s].data + first, std::min(kPiece, d - first)});
  });
}

}  // namespace octet
