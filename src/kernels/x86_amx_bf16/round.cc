// Activations to bf16 blocks, rounded to nearest even by integer arithmetic: vcvtneps2bf16 would
// flush denormals, and not every AMX machine's hypervisor shows it.
#include <immintrin.h>

#include "kernels/kernel.h"

namespace octet {
namespace {

__m256i ToBf16(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  // A NaN must not be carried into an infinity.
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16));
}

void Round(const RoundArgs& args) {
  RoundedBlock* out = args.out;
  for (int64_t k = 0; k < args.cols; k += kActivationBlock, out += args.out_stride) {
    for (int64_t i = 0; i < kActivationBlock; i += 16) {
      const int64_t left = args.cols - k - i;
      const auto mask = static_cast<__mmask16>(left >= 16  ? 0xffff
                                               : left <= 0 ? 0
                                                           : (1u << left) - 1);
      _mm256_store_si256(reinterpret_cast<__m256i*>(out->bf16 + i),
                         ToBf16(_mm512_maskz_loadu_ps(mask, args.x + k + i)));
    }
  }
}

}  // namespace

OCTET_KERNELS(x86_amx_bf16_round) = {
    {.name = "x86_amx_bf16/round",
     .op = KernelOp::kRound,
     .isa = kIsaAvx512 | kIsaAvx512Vnni | kIsaAmxInt8 | kIsaAmxBf16,
     .speed = 40,
     .format = Format::kF32,
     .round = Round},
    {},
};

}  // namespace octet
