// Linear and its gradients under Arithmetic::kBf16, without adapters: called by Linear,
// LinearGradInput and LinearGradWeight. Both operands are rounded to bf16, sums are float and in
// an order that depends on the summed dimension alone.
#pragma once

#include <span>

#include "ops/context.h"
#include "ops/linear.h"
#include "ops/linear_grad.h"

namespace octet {

void TileLinear(std::span<const LinearTask> tasks, Context& context);
void TileGradInput(std::span<const LinearGradInputTask> tasks, Context& context);
void TileGradWeight(std::span<const LinearGradWeightTask> tasks, Context& context);

}  // namespace octet
