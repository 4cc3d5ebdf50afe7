// Panels of the formats with integer scales times int8 activations.
#include "kernels/x86_avx2/formats_k.h"

#define OCTET_AVX2_KERNELS(name, id, format) \
  OCTET_PANEL_KERNELS("x86_avx2", kIsaAvx2, 10, name, id, format)

namespace octet {
OCTET_KERNELS(x86_avx2_matmul_k) = {
    OCTET_AVX2_KERNELS("q4_k", kQ4_K, Q4_K), OCTET_AVX2_KERNELS("q5_k", kQ5_K, Q5_K),
    OCTET_AVX2_KERNELS("q6_k", kQ6_K, Q6_K), OCTET_AVX2_KERNELS("q3_k", kQ3_K, Q3_K),
    OCTET_AVX2_KERNELS("q2_k", kQ2_K, Q2_K), {},
};
}  // namespace octet
