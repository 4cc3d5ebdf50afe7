// Panels of the formats with integer scales times int8 activations.
#include "kernels/x86_avx2/formats_k.h"

#define OCTET_AVX_VNNI_KERNELS(name, id, format) \
  OCTET_PANEL_KERNELS("x86_avx_vnni", kIsaAvx2 | kIsaAvxVnni, 15, name, id, format)

namespace octet {
OCTET_KERNELS(x86_avx_vnni_matmul_k) = {
    OCTET_AVX_VNNI_KERNELS("q4_k", kQ4_K, Q4_K), OCTET_AVX_VNNI_KERNELS("q5_k", kQ5_K, Q5_K),
    OCTET_AVX_VNNI_KERNELS("q6_k", kQ6_K, Q6_K), OCTET_AVX_VNNI_KERNELS("q3_k", kQ3_K, Q3_K),
    OCTET_AVX_VNNI_KERNELS("q2_k", kQ2_K, Q2_K), {},
};
}  // namespace octet
