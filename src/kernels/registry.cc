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

const KernelDescriptor* BestMatmul(uint32_t isa, Format format, Arithmetic arithmetic) {
  const KernelDescriptor* best = nullptr;
  for (const KernelDescriptor* kernel : AllKernels()) {
    const bool fits = kernel->op == KernelOp::kMatmul && kernel->speed != kOracleOnly &&
                      (kernel->isa & ~isa) == 0 &&
                      (kernel->any_format || kernel->format == format) &&
                      (kernel->arithmetic == arithmetic || arithmetic == Arithmetic::kFast);
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
  for (int f = 0; f < kFormatCount; ++f) {
    for (int a = 0; a < kArithmeticCount; ++a) {
      table.matmul[f][a] = BestMatmul(isa, static_cast<Format>(f), static_cast<Arithmetic>(a));
    }
  }
  for (const KernelDescriptor* kernel : AllKernels()) {
    if (kernel->op == KernelOp::kAttendBlock && (kernel->isa & ~isa) == 0 &&
        IsFaster(*kernel, table.attend_block)) {
      table.attend_block = kernel;
    }
  }
  return table;
}

}  // namespace octet
