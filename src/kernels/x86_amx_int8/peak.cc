// The most that int8 tile products do.
#include "kernels/x86_amx_int8/peak_loop.h"

namespace octet {
namespace {

OCTET_TILE_PEAK(Registers, OCTET_TILE_DOT_SS)
OCTET_TILE_PEAK_LOADS(Loads, OCTET_TILE_DOT_SS)

constexpr int32_t kRoundOps = 4 * 2 * 16 * 16 * 64;

}  // namespace

OCTET_KERNELS(x86_amx_int8_peak) = {
    {.name = "x86_amx_int8/peak.registers",
     .op = KernelOp::kPeak,
     .isa = kIsaAvx512 | kIsaAvx512Vnni | kIsaAmxInt8,
     .speed = 40,
     .peak = Peak::kAmxInt8,
     .peak_ops = kRoundOps,
     .run_peak = Registers},
    {.name = "x86_amx_int8/peak.loads",
     .op = KernelOp::kPeak,
     .isa = kIsaAvx512 | kIsaAvx512Vnni | kIsaAmxInt8,
     .speed = 40,
     .peak = Peak::kAmxInt8Loads,
     .peak_ops = kRoundOps,
     .run_peak = Loads},
    {},
};

}  // namespace octet
