// Which instruction sets this machine has and this run may use.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cpu/isa_bits.h"  // IWYU pragma: export

namespace octet {

/// The machine's bits: CPUID and XCR0, and for AMX the permission of the operating system, which is
/// asked for once, here, so call it before threads start.
uint32_t DetectIsa();

/// Bits a run may use: `limit` is reference|avx2|avx512|avx512_vnni|avx512_bf16|amx, each including
/// the ones before it, or avx_vnni, which includes avx2 alone; empty means all. An unknown name, or
/// one above the machine, is an error.
Result<uint32_t> SelectIsa(uint32_t detected, std::string_view limit);

/// SelectIsa with the environment's OCTET_ISA.
Result<uint32_t> SelectIsaFromEnvironment();

/// "avx2 avx_vnni avx512 avx512_vnni avx512_bf16 amx_int8 amx_bf16", or "reference" for none.
std::string IsaNames(uint32_t bits);

}  // namespace octet
