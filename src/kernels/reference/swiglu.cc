#include <cmath>

#include "kernels/kernel.h"
#include "kernels/reference/exp.h"

namespace octet {
namespace {

void SwiGlu(const SwiGluArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) {
    const float g = args.gate[i];
    const float e = ExpNegative(-std::fabs(g));
    args.gate[i] = g * ((g >= 0 ? 1.0f : e) / (1.0f + e)) * args.up[i];
  }
}

}  // namespace

OCTET_KERNELS(reference_swiglu) = {
    {.name = "reference/swiglu", .op = KernelOp::kSwiGlu, .isa = 0, .speed = 0, .swiglu = SwiGlu},
    {},
};

}  // namespace octet
