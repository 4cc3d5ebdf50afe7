// Every kernel in the program, and the choice among them for one run.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/kernel.h"

namespace octet {

/// All descriptors that were compiled in, the reference among them. Tests, fuzzers and benches walk
/// it.
const std::vector<const KernelDescriptor*>& AllKernels();

/// The fastest kernels that `isa` allows: what ops call. A missing fast kernel is never an error;
/// the table falls back to a slower instruction set and at last to the reference.
class KernelTable {
 public:
  uint32_t isa = 0;
  /// By the format of keys and values; there is always one for F32, others may be nullptr.
  std::array<const KernelDescriptor*, kFormatCount> attend_block = {};
  /// By the same, for Arithmetic::kFast; mostly nullptr.
  std::array<const KernelDescriptor*, kFormatCount> attend_span = {};
  const KernelDescriptor* quantize = nullptr;
  /// To bf16; nullptr where no matmul kernel reads that.
  const KernelDescriptor* round = nullptr;
  const KernelDescriptor *swiglu = nullptr, *norm = nullptr, *rope = nullptr, *sum = nullptr;
  /// By format; nullptr where its encoder is all there is.
  std::array<const KernelDescriptor*, kFormatCount> encode = {};
  // Training's; never nullptr, but bf16 tiles without AMX are only the reference.
  const KernelDescriptor* swiglu_grad = nullptr;
  const KernelDescriptor *swiglu_tiles = nullptr, *swiglu_grad_tiles = nullptr;
  const KernelDescriptor* target_row = nullptr;
  const KernelDescriptor* pack_tiles = nullptr;
  const KernelDescriptor* tile_product = nullptr;
  const KernelDescriptor* score_softmax = nullptr;
  const KernelDescriptor* score_grad = nullptr;
  const KernelDescriptor* turn = nullptr;
  const KernelDescriptor* adamw = nullptr;
  const KernelDescriptor* dot = nullptr;
  const KernelDescriptor* rms_norm_grad = nullptr;
  const KernelDescriptor* router_grad = nullptr;
  const KernelDescriptor* round_rows = nullptr;
  const KernelDescriptor *log_sum = nullptr, *target_tiles = nullptr;
  /// By kind; nullptr where the instruction set has none.
  std::array<const KernelDescriptor*, kPeakCount> peak = {};

  /// The kernel for that many tokens; nullptr when no kernel reads the format in that layout (a
  /// row-major one always exists). All choices for one matrix and arithmetic give the same bits.
  const KernelDescriptor* Matmul(Format format, Layout layout, Arithmetic arithmetic,
                                 int64_t tokens) const {
    const Choice& choice = matmul_[static_cast<size_t>(arithmetic)][static_cast<size_t>(layout)]
                                  [static_cast<size_t>(format)];
    return choice.many != nullptr && tokens >= choice.many->min_tokens ? choice.many : choice.few;
  }

 private:
  friend KernelTable SelectKernels(uint32_t isa);
  struct Choice {
    const KernelDescriptor* few = nullptr;
    const KernelDescriptor* many = nullptr;  // from its min_tokens on, where that is above 1
  };
  std::array<std::array<std::array<Choice, kFormatCount>, kLayoutCount>, kArithmeticCount> matmul_ =
      {};
};
KernelTable SelectKernels(uint32_t isa);

}  // namespace octet
