// The most that vpdpbusd does.
#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

// Two units of latency 5 want 10 sums under way; 12 leave slack.
constexpr int kSums = 12;

void DotPeak(const PeakArgs& args) {
  const __m512i a = _mm512_load_si512(args.scratch), b = _mm512_load_si512(args.scratch + 64);
  __m512i sum[kSums];
  for (__m512i& s : sum) s = a;
  for (int64_t i = 0; i < args.rounds; ++i) {
    for (__m512i& s : sum) s = _mm512_dpbusd_epi32(s, a, b);
  }
  for (int i = 1; i < kSums; ++i) sum[0] = _mm512_add_epi32(sum[0], sum[i]);
  _mm512_store_si512(args.scratch, sum[0]);
}

}  // namespace

OCTET_KERNELS(x86_avx512_vnni_peak) = {
    {.name = "x86_avx512_vnni/peak.dot_int8",
     .op = KernelOp::kPeak,
     .isa = kIsaAvx512 | kIsaAvx512Vnni,
     .speed = 30,
     .peak = Peak::kDotInt8,
     .peak_ops = 2 * 64 * kSums,
     .run_peak = DotPeak},
    {},
};

}  // namespace octet
