// The most that vpdpbusd does with 256-bit registers.
#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

// Two units of latency 5 want 10 sums under way; 12 leave slack.
constexpr int kSums = 12;

void DotPeak(const PeakArgs& args) {
  auto* memory = reinterpret_cast<__m256i*>(args.scratch);
  const __m256i a = _mm256_load_si256(memory), b = _mm256_load_si256(memory + 1);
  __m256i sum[kSums];
  for (__m256i& s : sum) s = a;
  for (int64_t i = 0; i < args.rounds; ++i) {
    for (__m256i& s : sum) s = _mm256_dpbusd_avx_epi32(s, a, b);
  }
  for (int i = 1; i < kSums; ++i) sum[0] = _mm256_add_epi32(sum[0], sum[i]);
  _mm256_store_si256(memory, sum[0]);
}

}  // namespace

OCTET_KERNELS(x86_avx_vnni_peak) = {
    {.name = "x86_avx_vnni/peak.dot_int8",
     .op = KernelOp::kPeak,
     .isa = kIsaAvx2 | kIsaAvxVnni,
     .speed = 15,
     .peak = Peak::kDotInt8,
     .peak_ops = 2 * 32 * kSums,
     .run_peak = DotPeak},
    {},
};

}  // namespace octet
