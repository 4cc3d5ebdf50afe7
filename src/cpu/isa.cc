#include "cpu/isa.h"

#include <array>
#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace octet {
namespace {

struct NamedBits {
  std::string_view name;
  uint32_t bits;
};
constexpr std::array kBitNames = {
    NamedBits{"avx2", kIsaAvx2},
    NamedBits{"avx_vnni", kIsaAvxVnni},
    NamedBits{"avx512", kIsaAvx512},
    NamedBits{"avx512_vnni", kIsaAvx512Vnni},
    NamedBits{"avx512_bf16", kIsaAvx512Bf16},
    NamedBits{"amx_int8", kIsaAmxInt8},
    NamedBits{"amx_bf16", kIsaAmxBf16},
};
constexpr uint32_t kVnni = kIsaAvx2 | kIsaAvx512 | kIsaAvx512Vnni;
/// Limits in rising order; each includes the ones before it, but for avx_vnni, which is a branch of
/// its own above avx2.
constexpr std::array kLimits = {
    NamedBits{"reference", 0},
    NamedBits{"avx2", kIsaAvx2},
    NamedBits{"avx_vnni", kIsaAvx2 | kIsaAvxVnni},
    NamedBits{"avx512", kIsaAvx2 | kIsaAvx512},
    NamedBits{"avx512_vnni", kVnni},
    NamedBits{"avx512_bf16", kVnni | kIsaAvx512Bf16},
    NamedBits{"amx", kVnni | kIsaAvx512Bf16 | kIsaAmxInt8 | kIsaAmxBf16},
};

#if defined(__x86_64__)
bool HasAll(uint32_t value, uint32_t mask) { return (value & mask) == mask; }

/// The state the operating system saves for us; 0 when it does not say.
uint64_t ReadXcr0(uint32_t leaf1_ecx) {
  if ((leaf1_ecx & bit_OSXSAVE) == 0) return 0;
  uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

/// Linux grants the tile registers to a process on request; older kernels refuse.
bool RequestTiles() {
  constexpr long kArchReqXcompPerm = 0x1023, kXfeatureXtiledata = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtiledata) == 0;
}

/// More features of leaf 7.
uint32_t Leaf7Sub1Eax() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 ? a : 0;
}

uint32_t DetectX86() {
  uint32_t a = 0, b1 = 0, c1 = 0, d1 = 0;
  if (__get_cpuid(1, &a, &b1, &c1, &d1) == 0) return 0;
  uint32_t b7 = 0, c7 = 0, d7 = 0;
  if (__get_cpuid_count(7, 0, &a, &b7, &c7, &d7) == 0) return 0;
  const uint64_t xcr0 = ReadXcr0(c1);
  constexpr uint64_t kYmmState = 0x6, kZmmState = 0xe6, kTileState = 0x60000;

  uint32_t bits = 0;
  if ((xcr0 & kYmmState) == kYmmState && HasAll(c1, bit_FMA | bit_F16C | bit_AVX) &&
      HasAll(b7, bit_AVX2)) {
    bits |= kIsaAvx2;
    constexpr uint32_t kAvxVnni = 1u << 4;  // leaf 7, subleaf 1, eax
    if (HasAll(Leaf7Sub1Eax(), kAvxVnni)) bits |= kIsaAvxVnni;
  }
  constexpr uint32_t kAvx512 =
      bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL;
  if ((bits & kIsaAvx2) != 0 && (xcr0 & kZmmState) == kZmmState && HasAll(b7, kAvx512)) {
    bits |= kIsaAvx512;
    if (HasAll(c7, bit_AVX512VNNI)) bits |= kIsaAvx512Vnni;
    if (HasAll(Leaf7Sub1Eax(), bit_AVX512BF16)) bits |= kIsaAvx512Bf16;
  }
  constexpr uint32_t kAmxBf16 = 1u << 22, kAmxTile = 1u << 24, kAmxInt8 = 1u << 25;  // leaf 7 edx
  if ((bits & kIsaAvx512Vnni) != 0 && (xcr0 & kTileState) == kTileState && HasAll(d7, kAmxTile) &&
      RequestTiles()) {
    if (HasAll(d7, kAmxInt8)) bits |= kIsaAmxInt8;
    if (HasAll(d7, kAmxBf16) && (bits & kIsaAvx512Bf16) != 0) bits |= kIsaAmxBf16;
  }
  return bits;
}
#endif

}  // namespace

uint32_t DetectIsa() {
#if defined(__x86_64__)
  static const uint32_t bits = DetectX86();
  return bits;
#else
  return 0;
#endif
}

Result<uint32_t> SelectIsa(uint32_t detected, std::string_view limit) {
  if (limit.empty()) return detected;
  for (const NamedBits& known : kLimits) {
    if (known.name != limit) continue;
    // "amx" is there when either of its two kinds is, and needs no AVX512_BF16.
    const uint32_t needed = limit == "amx" ? kVnni | kIsaAmxInt8 : known.bits;
    if ((detected & needed) != needed) {
      return Err(ErrorCode::kUnsupported,
                 "instruction set '{}' is above this machine, which has {}", limit,
                 IsaNames(detected));
    }
    return detected & known.bits;
  }
  return Err(ErrorCode::kInvalidArgument,
             "unknown instruction set '{}', expected reference, avx2, avx_vnni, avx512, "
             "avx512_vnni, avx512_bf16 or amx",
             limit);
}

Result<uint32_t> SelectIsaFromEnvironment() {
  const char* limit = std::getenv("OCTET_ISA");
  auto bits = SelectIsa(DetectIsa(), limit != nullptr ? limit : "");
  if (!bits) return Err(bits.error().code, "OCTET_ISA: {}", bits.error().message);
  return bits;
}

std::string IsaNames(uint32_t bits) {
  std::string names;
  for (const NamedBits& known : kBitNames) {
    if ((bits & known.bits) == 0) continue;
    if (!names.empty()) names += ' ';
    names += known.name;
  }
  return names.empty() ? "reference" : names;
}

}  // namespace octet
