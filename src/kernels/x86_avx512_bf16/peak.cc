// The most that vdpbf16ps does.
#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

// Two units of latency 6 (Zen 5) want 12 sums under way; 16 leave slack.
constexpr int kSums = 16;

void DotPeak(const PeakArgs& args) {
  const auto a = reinterpret_cast<__m512bh>(_mm512_load_si512(args.scratch)),
             b = reinterpret_cast<__m512bh>(_mm512_load_si512(args.scratch + 64));
  __m512 sum[kSums];
  for (__m512& s : sum) s = _mm512_load_ps(args.scratch + 128);
  for (int64_t i = 0; i < args.rounds; ++i) {
    for (__m512& s : sum) s = _mm512_dpbf16_ps(s, a, b);
  }
  for (int i = 1; i < kSums; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  _mm512_store_ps(args.scratch, sum[0]);
}

}  // namespace

OCTET_KERNELS(x86_avx512_bf16_peak) = {
    {.name = "x86_avx512_bf16/peak.dot_bf16",
     .op = KernelOp::kPeak,
     .isa = kIsaAvx512 | kIsaAvx512Bf16,
     .speed = 35,
     .peak = Peak::kDotBf16,
     .peak_ops = 2 * 32 * kSums,
     .run_peak = DotPeak},
    {},
};

}  // namespace octet
