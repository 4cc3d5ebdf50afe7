// Two spans of attention merged (kernels/kernel.h, MergeSpanArgs), whatever computed them.
#pragma once

#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx512/exp2.h"

namespace octet {
namespace {

inline void MergeSpan(const MergeSpanArgs& args) {
  for (int64_t query = 0; query < args.queries; ++query) {
    const __m512 m = _mm512_set1_ps(args.m[query]), part_m = _mm512_set1_ps(args.part_m[query]);
    const __m512 most = _mm512_max_ps(part_m, m);
    const __m512 own = Exp2(_mm512_sub_ps(m, most)), part = Exp2(_mm512_sub_ps(part_m, most));
    args.m[query] = _mm512_cvtss_f32(most);
    args.l[query] =
        _mm512_cvtss_f32(_mm512_fmadd_ps(_mm512_set1_ps(args.part_l[query]), part,
                                         _mm512_mul_ps(_mm512_set1_ps(args.l[query]), own)));
    float* acc = args.acc + query * args.head_dim;
    const float* part_acc = args.part_acc + query * args.head_dim;
    for (int64_t d = 0; d < args.head_dim; d += 16) {
      _mm512_storeu_ps(acc + d, _mm512_fmadd_ps(_mm512_loadu_ps(part_acc + d), part,
                                                _mm512_mul_ps(_mm512_loadu_ps(acc + d), own)));
    }
  }
}

}  // namespace
}  // namespace octet
