// The most that bf16 tile products do.
#include "kernels/x86_amx_int8/peak_loop.h"

namespace octet {
namespace {

OCTET_TILE_PEAK(Registers, OCTET_TILE_DOT_BF16)
OCTET_TILE_PEAK_LOADS(Loads, OCTET_TILE_DOT_BF16)

constexpr int32_t kRoundOps = 4 * 2 * 16 * 16 * 32;

}  // namespace

OCTET_KERNELS(x86_amx_bf16_peak) = {
    {.name = "x86_amx_bf16/peak.registers",
     .op = KernelOp::kPeak,
     .isa = kIsaAvx512 | kIsaAvx512Vnni | kIsaAmxInt8 | kIsaAmxBf16,
     .speed = 40,
     .peak = Peak::kAmxBf16,
     .peak_ops = kRoundOps,
     .run_peak = Registers},
    {.name = "x86_amx_bf16/peak.loads",
     .op = KernelOp::kPeak,
     .isa = kIsaAvx512 | kIsaAvx512Vnni | kIsaAmxInt8 | kIsaAmxBf16,
     .speed = 40,
     .peak = Peak::kAmxBf16Loads,
     .peak_ops = kRoundOps,
     .run_peak = Loads},
    {},
};

}  // namespace octet
