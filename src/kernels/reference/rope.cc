#include "kernels/kernel.h"

namespace octet {
namespace {

void Rope(const RopeArgs& args) {
  // Element i of a pair is at i · step, its partner `partner` further on.
  const int64_t step = args.interleaved ? 2 : 1, partner = args.interleaved ? 1 : args.half;
  for (int64_t h = 0; h < args.heads; ++h) {
    float* head = args.x + h * 2 * args.half;
    for (int64_t i = 0; i < args.half; ++i) {
      float &a = head[i * step], &b = head[i * step + partner];
      const float a0 = a, b0 = b;
      a = a0 * args.cos[i] - b0 * args.sin[i];
      b = a0 * args.sin[i] + b0 * args.cos[i];
    }
  }
}

}  // namespace

OCTET_KERNELS(reference_rope) = {
    {.name = "reference/rope", .op = KernelOp::kRope, .isa = 0, .speed = 0, .rope = Rope},
    {},
};

}  // namespace octet
