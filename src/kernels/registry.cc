#include "kernels/registry.h"

namespace octet {

#define OCTET_KERNEL_FILE(id) extern const KernelDescriptor octet_kernels_##id[];
#include "kernel_list.inc"
#undef OCTET_KERNEL_FILE

namespace {

std::vector<const KernelDescriptor*> CollectKernels() {
  const KernelDescriptor* const files[] = {
#define OCTET_KERNEL_FILE(id) octet_kernels_##id,
#include "kernel_list.inc"
#undef OCTET_KERNEL_FILE
  };
  std::vector<const KernelDescriptor*> all;
  for (const KernelDescriptor* kernel : files) {
    for (; kernel->name != nullptr; ++kernel) all.push_back(kernel);
  }
  return all;
}

/// Better of the two, where `best` may still be missing.
bool IsFaster(const KernelDescriptor& kernel, const KernelDescriptor* best) {
  if (best == nullptr) return true;
  // A kernel made for kFast beats a borrowed kFloat32 one.
  if (kernel.arithmetic != best->arithmetic) return kernel.arithmetic == Arithmetic::kFast;
  return kernel.speed > best->speed;
}

struct MatmulKey {
  Arithmetic arithmetic;
  Layout layout;
  Format format;
};

bool Fits(const KernelDescriptor& kernel, uint32_t isa, const MatmulKey& key) {
  // "Any format" of a kernel with int8 activations means any quantised one that reads such scales.
  const bool int8 = kernel.activations == Activations::kInt8,
             int8_per32 = kernel.activations == Activations::kInt8Per32;
  if (int8 || int8_per32) {
    if (FindIntegerDot(key.format) == nullptr || ReadsScalesPer32(key.format) != int8_per32)
      return false;
  }
  return kernel.op == KernelOp::kMatmul && (kernel.isa & ~isa) == 0 &&
         kernel.layout == key.layout && (kernel.any_format || kernel.format == key.format) &&
         (kernel.arithmetic == key.arithmetic || kernel.arithmetic == Arithmetic::kFloat32);
}

const KernelDescriptor* BestMatmul(uint32_t isa, const MatmulKey& key, bool for_many) {
  const KernelDescriptor* best = nullptr;
  for (const KernelDescriptor* kernel : AllKernels()) {
    if ((kernel->min_tokens > 1) != for_many || !Fits(*kernel, isa, key)) continue;
    if (IsFaster(*kernel, best)) best = kernel;
  }
  return best;
}

/// For the ops that have one kernel an instruction set and format.
const KernelDescriptor* Best(uint32_t isa, KernelOp op, Format format) {
  const KernelDescriptor* best = nullptr;
  for (const KernelDescriptor* kernel : AllKernels()) {
    const bool fits = kernel->op == op && kernel->format == format && (kernel->isa & ~isa) == 0;
    if (fits && IsFaster(*kernel, best)) best = kernel;
  }
  return best;
}

const KernelDescriptor* BestPeak(uint32_t isa, Peak peak) {
  const KernelDescriptor* best = nullptr;
  for (const KernelDescriptor* kernel : AllKernels()) {
    const bool fits =
        kernel->op == KernelOp::kPeak && kernel->peak == peak && (kernel->isa & ~isa) == 0;
    if (fits && IsFaster(*kernel, best)) best = kernel;
  }
  return best;
}

}  // namespace

const std::vector<const KernelDescriptor*>& AllKernels() {
  static const std::vector<const KernelDescriptor*> all = CollectKernels();
  return all;
}

KernelTable SelectKernels(uint32_t isa) {
  KernelTable table;
  table.isa = isa;
  for (int a = 0; a < kArithmeticCount; ++a) {
    for (int l = 0; l < kLayoutCount; ++l) {
      for (int f = 0; f < kFormatCount; ++f) {
        const MatmulKey key{static_cast<Arithmetic>(a), static_cast<Layout>(l),
                            static_cast<Format>(f)};
        table.matmul_[a][l][f] = {BestMatmul(isa, key, false), BestMatmul(isa, key, true)};
      }
    }
  }
  for (int f = 0; f < kFormatCount; ++f) {
    table.attend_block[f] = Best(isa, KernelOp::kAttendBlock, static_cast<Format>(f));
    table.attend_span[f] = Best(isa, KernelOp::kAttendSpan, static_cast<Format>(f));
    table.encode[f] = Best(isa, KernelOp::kEncode, static_cast<Format>(f));
  }
  table.quantize = Best(isa, KernelOp::kQuantize, Format::kF32);
  table.round = Best(isa, KernelOp::kRound, Format::kF32);
  table.swiglu = Best(isa, KernelOp::kSwiGlu, Format::kF32);
  table.norm = Best(isa, KernelOp::kNorm, Format::kF32);
  table.rope = Best(isa, KernelOp::kRope, Format::kF32);
  table.sum = Best(isa, KernelOp::kSum, Format::kF32);
  table.swiglu_grad = Best(isa, KernelOp::kSwiGluGrad, Format::kF32);
  table.swiglu_tiles = Best(isa, KernelOp::kSwiGluTiles, Format::kF32);
  table.swiglu_grad_tiles = Best(isa, KernelOp::kSwiGluGradTiles, Format::kF32);
  table.target_row = Best(isa, KernelOp::kTargetRow, Format::kF32);
  table.pack_tiles = Best(isa, KernelOp::kPackTiles, Format::kF32);
  table.tile_product = Best(isa, KernelOp::kTileProduct, Format::kF32);
  table.adamw = Best(isa, KernelOp::kAdamW, Format::kF32);
  table.score_softmax = Best(isa, KernelOp::kScoreSoftmax, Format::kF32);
  table.score_grad = Best(isa, KernelOp::kScoreGrad, Format::kF32);
  table.turn = Best(isa, KernelOp::kTurn, Format::kF32);
  table.dot = Best(isa, KernelOp::kDot, Format::kF32);
  table.rms_norm_grad = Best(isa, KernelOp::kRmsNormGrad, Format::kF32);
  table.router_grad = Best(isa, KernelOp::kRouterGrad, Format::kF32);
  table.round_rows = Best(isa, KernelOp::kRoundRows, Format::kF32);
  table.log_sum = Best(isa, KernelOp::kLogSum, Format::kF32);
  table.target_tiles = Best(isa, KernelOp::kTargetTiles, Format::kF32);
  for (int p = 0; p < kPeakCount; ++p) table.peak[p] = BestPeak(isa, static_cast<Peak>(p));
  return table;
}

}  // namespace octet
