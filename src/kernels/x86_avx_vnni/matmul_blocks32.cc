// Panels of the formats with blocks of 32 values times int8 activations.
#include "kernels/x86_avx2/formats32.h"

#define OCTET_AVX_VNNI_KERNELS(name, id, format) \
  OCTET_PANEL_KERNELS("x86_avx_vnni", kIsaAvx2 | kIsaAvxVnni, 15, name, id, format)

namespace octet {
OCTET_KERNELS(x86_avx_vnni_matmul_blocks32) = {
    OCTET_AVX_VNNI_KERNELS("q4_0", kQ4_0, Q4_0),
    OCTET_AVX_VNNI_KERNELS("q4_1", kQ4_1, Q4_1),
    OCTET_AVX_VNNI_KERNELS("q5_0", kQ5_0, Q5_0),
    OCTET_AVX_VNNI_KERNELS("q5_1", kQ5_1, Q5_1),
    OCTET_AVX_VNNI_KERNELS("q8_0", kQ8_0, Q8_0),
    OCTET_AVX_VNNI_KERNELS("iq4_nl", kIq4_Nl, Iq4_Nl),
    OCTET_AVX_VNNI_KERNELS("iq4_xs", kIq4_Xs, Iq4_Xs),
    {},
};
}  // namespace octet
