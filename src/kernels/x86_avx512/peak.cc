// The most that 512-bit arithmetic does.
#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

// Two units of latency 4 want 8 sums under way; 12 leave slack.
constexpr int kSums = 12;

void FmaPeak(const PeakArgs& args) {
  const __m512 a = _mm512_load_ps(args.scratch), b = _mm512_load_ps(args.scratch + 64);
  __m512 sum[kSums];
  for (__m512& s : sum) s = a;
  for (int64_t i = 0; i < args.rounds; ++i) {
    for (__m512& s : sum) s = _mm512_fmadd_ps(a, b, s);
  }
  for (int i = 1; i < kSums; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  _mm512_store_ps(args.scratch, sum[0]);
}

}  // namespace

OCTET_KERNELS(x86_avx512_peak) = {
    {.name = "x86_avx512/peak.fma_f32",
     .op = KernelOp::kPeak,
     .isa = kIsaAvx512,
     .speed = 20,
     .peak = Peak::kFmaF32,
     .peak_ops = 2 * 16 * kSums,
     .run_peak = FmaPeak},
    {},
};

}  // namespace octet
