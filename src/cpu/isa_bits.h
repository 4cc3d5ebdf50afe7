// The feature bits alone, for kernel files: they are compiled with special flags and may include
// nothing that emits code.
#pragma once

#include <cstdint>

namespace octet {

/// Feature bits. Each kernel folder requires a set of them.
enum IsaBits : uint32_t {
  kIsaAvx2 = 1u << 0,    // AVX2 + FMA + F16C
  kIsaAvx512 = 1u << 1,  // F, BW, CD, DQ, VL
  kIsaAvx512Vnni = 1u << 2,
  kIsaAmxInt8 = 1u << 3,  // tiles granted by the operating system too
  kIsaAmxBf16 = 1u << 4,  // AVX512_BF16 too
  kIsaAvx512Bf16 = 1u << 5,
  kIsaAvxVnni = 1u << 6,  // vpdpbusd of 256 bits without AVX-512; not part of kIsaAvx512Vnni
};

}  // namespace octet
