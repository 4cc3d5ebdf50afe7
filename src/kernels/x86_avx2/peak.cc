// The most that 256-bit arithmetic does.
#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

// Two units of latency 4 want 8 sums under way; 12 leave slack.
constexpr int kSums = 12;

void FmaPeak(const PeakArgs& args) {
  auto* memory = reinterpret_cast<float*>(args.scratch);
  const __m256 a = _mm256_load_ps(memory), b = _mm256_load_ps(memory + 8);
  __m256 sum[kSums];
  for (__m256& s : sum) s = a;
  for (int64_t i = 0; i < args.rounds; ++i) {
    for (__m256& s : sum) s = _mm256_fmadd_ps(a, b, s);
  }
  for (int i = 1; i < kSums; ++i) sum[0] = _mm256_add_ps(sum[0], sum[i]);
  _mm256_store_ps(memory, sum[0]);
}

}  // namespace

OCTET_KERNELS(x86_avx2_peak) = {
    {.name = "x86_avx2/peak.fma_f32",
     .op = KernelOp::kPeak,
     .isa = kIsaAvx2,
     .speed = 10,
     .peak = Peak::kFmaF32,
     .peak_ops = 2 * 8 * kSums,
     .run_peak = FmaPeak},
    {},
};

}  // namespace octet
