// The most that vpdpbusd does with 256-bit registers.
#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

// Two units of latency 5 want 10 sums under way; 12 leave slack.
constexpr int kSums = 12;

/// One product into a sum that stays in its register: g++ would add some of them up first.
void Add(const __m256i& a, const __m256i& b, __m256i& sum) {
  sum = _mm256_dpbusd_avx_epi32(sum, a, b);
  asm("" : "+x"(sum));
}

/// Sums by constant places, for in an array that a loop walks they stay in memory.
template <int... I>
void Run(const PeakArgs& args) {
  auto* memory = reinterpret_cast<__m256i*>(args.scratch);
  const __m256i a = _mm256_load_si256(memory), b = _mm256_load_si256(memory + 1);
  __m256i sum[] = {((void)I, a)...};
  static_assert(sizeof...(I) == kSums);
  for (int64_t i = 0; i < args.rounds; ++i) (Add(a, b, sum[I]), ...);
  __m256i all = _mm256_setzero_si256();
  ((all = _mm256_add_epi32(all, sum[I])), ...);
  _mm256_store_si256(memory, all);
}

void DotPeak(const PeakArgs& args) { Run<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11>(args); }

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
