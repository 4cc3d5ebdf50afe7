// Makes the singular values of a matrix about one: the iteration of Muon. docs/math/muon.md.
#pragma once

#include <cstdint>
#include <span>

#include "ops/context.h"
#include "tensor/view.h"

namespace octet {

class NewtonSchulz {
 public:
  struct Shape {
    int64_t rows, cols;
  };
  /// One thread's memory for matrices of these shapes, from the context's arena, which it must not
  /// outlive. Products are the context's: of bf16 tiles under Arithmetic::kBf16, else of floats.
  NewtonSchulz(std::span<const Shape> shapes, Context& context);

  /// x = U S Vᵀ becomes about U Vᵀ: each singular value above a hundredth of ‖x‖ between 0.65 and
  /// 1.25. Zeros stay. Bits depend on x alone.
  void Run(View<float, 2> x);

 private:
  /// A side of a product: x, or xᵀ.
  struct Operand {
    View<const float, 2> x;
    bool turned = false;
    int64_t outputs() const { return x.shape[turned ? 1 : 0]; }
    int64_t depth() const { return x.shape[turned ? 0 : 1]; }
  };
  /// c = a · bᵀ.
  void Multiply(const Operand& a, const Operand& b, View<float, 2> c);
  void Pack(const Operand& operand, bool pairs, uint16_t* out);
  View<const float, 2> RowsOf(const Operand& operand);
  void Step(View<float, 2> x);

  static constexpr int64_t kManyRows = 256;
  const KernelTable& kernels_;
  bool tiles_;
  float *square_, *fourth_;  // [side, side], of the shorter side
  float *next_, *turned_;    // as large as x
  uint16_t *left_, *right_;  // operands of tile products
  const KernelDescriptor* float_product_;
  float* kernel_;  // what it works in
};

}  // namespace octet
