// The oracle of block attention: the order of operations of kernel.h, spelled out.
#include <cmath>

#include "kernels/kernel.h"
#include "kernels/reference/exp.h"

namespace octet {
namespace {

float SumLanes(float* lanes) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

float Dot(const float* a, const float* b, int64_t n) {
  float lanes[16] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i % 16] = std::fma(a[i], b[i], lanes[i % 16]);
  return SumLanes(lanes);
}

const float* Row(const std::byte* rows, int32_t j, const AttendBlockArgs& args) {
  return reinterpret_cast<const float*>(rows + j * args.kv_row_bytes);
}

void AttendHead(const AttendBlockArgs& args, int32_t h) {
  float weight[kKeyBlock] = {};
  float m = args.m[h];
  for (int32_t j = args.begin; j < args.end; ++j) {
    weight[j] = Dot(args.q + h * args.q_stride, Row(args.k, j, args), args.head_dim);
    m = weight[j] > m ? weight[j] : m;
  }
  const float decay = ExpNegative(args.m[h] - m);
  float lanes[16] = {};
  for (int32_t j = args.begin; j < args.end; ++j) weight[j] = ExpNegative(weight[j] - m);
  for (int32_t j = 0; j < kKeyBlock; ++j) lanes[j % 16] += weight[j];
  args.m[h] = m;
  args.l[h] = std::fma(args.l[h], decay, SumLanes(lanes));

  float* acc = args.acc + static_cast<int64_t>(h) * args.head_dim;
  for (int32_t d = 0; d < args.head_dim; ++d) {
    float sum = acc[d] * decay;
    for (int32_t j = args.begin; j < args.end; ++j) {
      sum = std::fma(weight[j], Row(args.v, j, args)[d], sum);
    }
    acc[d] = sum;
  }
}

void AttendBlock(const AttendBlockArgs& args) {
  if (args.begin >= args.end) return;
  for (int32_t h = 0; h < args.heads; ++h) AttendHead(args, h);
}

}  // namespace

OCTET_KERNELS(reference_attend_block) = {
    {.name = "reference/attend_block",
     .op = KernelOp::kAttendBlock,
     .isa = 0,
     .speed = 0,
     .format = Format::kF32,
     .attend_block = AttendBlock},
    {},
};

}  // namespace octet
