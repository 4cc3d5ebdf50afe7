// Training's functions of rows, eight values at a time; sixteen lanes are two halves.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx2/exp.h"

namespace octet {
namespace {

constexpr int64_t kLanes = 16, kHalf = 8;

/// The first `left` of eight.
__m256i Rest(int64_t left) {
  const auto n = static_cast<int32_t>(left >= kHalf ? kHalf : left <= 0 ? 0 : left);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
__m256 Keep(__m256i mask, __m256 x) { return _mm256_and_ps(_mm256_castsi256_ps(mask), x); }

void SwiGluGrad(const SwiGluGradArgs& args) {
  const __m256 one = _mm256_set1_ps(1.0f);
  for (int64_t i = 0; i < args.n; i += kHalf) {
    const __m256i mask = Rest(args.n - i);
    const __m256 g = _mm256_maskload_ps(args.gate + i, mask);
    const __m256 up = _mm256_maskload_ps(args.up + i, mask);
    const __m256 d = _mm256_maskload_ps(args.d_hidden + i, mask);
    const __m256 e = ExpNegative(_mm256_or_ps(g, _mm256_set1_ps(-0.0f)));
    const __m256 rising = _mm256_cmp_ps(g, _mm256_setzero_ps(), _CMP_GE_OQ);
    const __m256 t = _mm256_div_ps(_mm256_blendv_ps(e, one, rising), _mm256_add_ps(one, e));
    const __m256 slope = _mm256_fmadd_ps(g, _mm256_sub_ps(one, t), one);
    const __m256 through = _mm256_mul_ps(_mm256_mul_ps(d, up), t);
    _mm256_maskstore_ps(args.d_gate + i, mask, _mm256_mul_ps(through, slope));
    _mm256_maskstore_ps(args.d_up + i, mask, _mm256_mul_ps(d, _mm256_mul_ps(g, t)));
  }
}

__m256d Low(__m256 x) { return _mm256_cvtps_pd(_mm256_castps256_ps128(x)); }
__m256d High(__m256 x) { return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)); }

/// Sixteen sums in double, four a register.
struct Sums {
  __m256d part[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(),
                     _mm256_setzero_pd()};

  /// Lanes 8 · half and the seven after it.
  void Add(int half, __m256d low, __m256d high) {
    part[2 * half] = _mm256_add_pd(part[2 * half], low);
    part[2 * half + 1] = _mm256_add_pd(part[2 * half + 1], high);
  }
  double Total() const {
    double lanes[kLanes];
    for (int i = 0; i < 4; ++i) _mm256_storeu_pd(lanes + 4 * i, part[i]);
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    return lanes[0];
  }
};

float Greatest(const float* z, int64_t n) {
  __m256 best = _mm256_set1_ps(z[0]);
  for (int64_t i = 0; i < n; i += kHalf) {
    const __m256i mask = Rest(n - i);
    const __m256 x =
        _mm256_blendv_ps(best, _mm256_maskload_ps(z + i, mask), _mm256_castsi256_ps(mask));
    best = _mm256_max_ps(best, x);
  }
  float lanes[kHalf];
  _mm256_storeu_ps(lanes, best);
  float greatest = lanes[0];
  for (const float lane : lanes) greatest = lane > greatest ? lane : greatest;
  return greatest;
}

void TargetRow(const TargetRowArgs& args) {
  float* z = args.z;
  const float best = Greatest(z, args.n);
  *args.at_target = z[args.target] - best;
  const __m256 shift = _mm256_set1_ps(best);
  Sums sums;
  for (int64_t i = 0; i < args.n; i += kHalf) {
    const __m256i mask = Rest(args.n - i);
    const __m256 x = _mm256_sub_ps(_mm256_maskload_ps(z + i, mask), shift);
    const __m256 e = Keep(mask, ExpNegative(x));
    _mm256_maskstore_ps(z + i, mask, e);
    sums.Add(i / kHalf % 2, Low(e), High(e));
  }
  *args.sum = sums.Total();
  if (args.d_log_prob == nullptr) return;
  const auto scale = static_cast<float>(-static_cast<double>(*args.d_log_prob) / *args.sum);
  for (int64_t i = 0; i < args.n; i += kHalf) {
    const __m256i mask = Rest(args.n - i);
    const __m256 e = _mm256_maskload_ps(z + i, mask);
    _mm256_maskstore_ps(z + i, mask, _mm256_mul_ps(e, _mm256_set1_ps(scale)));
  }
  z[args.target] += *args.d_log_prob;
}

void AdamW(const AdamWArgs& a) {
  const __m256 grad_scale = _mm256_set1_ps(a.grad_scale);
  const __m256 beta1 = _mm256_set1_ps(a.beta1), rest1 = _mm256_set1_ps(1.0f - a.beta1);
  const __m256 beta2 = _mm256_set1_ps(a.beta2), rest2 = _mm256_set1_ps(1.0f - a.beta2);
  const __m256 keep = _mm256_set1_ps(a.keep), step = _mm256_set1_ps(a.step);
  const __m256 root_scale = _mm256_set1_ps(a.root_scale), eps = _mm256_set1_ps(a.eps);
  for (int64_t i = 0; i < a.n; i += kHalf) {
    const __m256i mask = Rest(a.n - i);
    const __m256 g = _mm256_mul_ps(_mm256_maskload_ps(a.grad + i, mask), grad_scale);
    const __m256 m = _mm256_add_ps(_mm256_mul_ps(beta1, _mm256_maskload_ps(a.m + i, mask)),
                                   _mm256_mul_ps(rest1, g));
    const __m256 v = _mm256_add_ps(_mm256_mul_ps(beta2, _mm256_maskload_ps(a.v + i, mask)),
                                   _mm256_mul_ps(_mm256_mul_ps(rest2, g), g));
    const __m256 root = _mm256_add_ps(_mm256_mul_ps(_mm256_sqrt_ps(v), root_scale), eps);
    const __m256 w = _mm256_mul_ps(_mm256_maskload_ps(a.w + i, mask), keep);
    _mm256_maskstore_ps(a.m + i, mask, m);
    _mm256_maskstore_ps(a.v + i, mask, v);
    _mm256_maskstore_ps(a.w + i, mask,
                        _mm256_sub_ps(w, _mm256_div_ps(_mm256_mul_ps(step, m), root)));
  }
}

void Dot(const DotArgs& args) {
  Sums sums;
  for (int64_t i = 0; i < args.n; i += kHalf) {
    const __m256i mask = Rest(args.n - i);
    const __m256 a = _mm256_maskload_ps(args.a + i, mask);
    const __m256 b = _mm256_maskload_ps(args.b + i, mask);
    sums.Add(i / kHalf % 2, _mm256_mul_pd(Low(a), Low(b)), _mm256_mul_pd(High(a), High(b)));
  }
  *args.sum = sums.Total();
}

/// Adds x·x and (d_y·w)·x of eight values.
void AddNormSums(const RmsNormGradArgs& args, int64_t i, Sums& squares, Sums& dots) {
  const __m256i mask = Rest(args.n - i);
  const __m256 x = _mm256_maskload_ps(args.x + i, mask);
  const __m256 w = _mm256_maskload_ps(args.w + i, mask);
  const __m256 d = _mm256_maskload_ps(args.d_y + i, mask);
  const int half = static_cast<int>(i / kHalf % 2);
  const __m256d low = Low(x), high = High(x);
  squares.Add(half, _mm256_mul_pd(low, low), _mm256_mul_pd(high, high));
  dots.Add(half, _mm256_mul_pd(_mm256_mul_pd(Low(d), Low(w)), low),
           _mm256_mul_pd(_mm256_mul_pd(High(d), High(w)), high));
}

void RmsNormGrad(const RmsNormGradArgs& args) {
  Sums squares, dots;
  for (int64_t i = 0; i < args.n; i += kHalf) AddNormSums(args, i, squares, dots);
  const auto n = static_cast<double>(args.n);
  const double r = 1.0 / __builtin_sqrt(squares.Total() / n + args.eps);
  const __m256 scale = _mm256_set1_ps(static_cast<float>(r));
  const __m256 pull = _mm256_set1_ps(static_cast<float>(dots.Total() * r * r * r / n));
  for (int64_t i = 0; i < args.n; i += kHalf) {
    const __m256i mask = Rest(args.n - i);
    const __m256 x = _mm256_maskload_ps(args.x + i, mask);
    const __m256 d = _mm256_maskload_ps(args.d_y + i, mask);
    const __m256 w = _mm256_maskload_ps(args.w + i, mask);
    const __m256 change =
        _mm256_sub_ps(_mm256_mul_ps(_mm256_mul_ps(scale, w), d), _mm256_mul_ps(pull, x));
    const __m256 d_x = _mm256_maskload_ps(args.d_x + i, mask);
    _mm256_maskstore_ps(args.d_x + i, mask, _mm256_add_ps(d_x, change));
    if (args.partial == nullptr) continue;
    const __m256 partial = _mm256_maskload_ps(args.partial + i, mask);
    const __m256 part = _mm256_mul_ps(d, _mm256_mul_ps(x, scale));
    _mm256_maskstore_ps(args.partial + i, mask, _mm256_add_ps(partial, part));
  }
}

/// Eight columns from i on and up to four experts from e on: their weights, and the sums of d_w,
/// stay in registers while the rows pass.
void RouterGradStrip(const RouterGradArgs& args, int64_t i, int64_t e) {
  constexpr int kMost = 4;
  const __m256i mask = Rest(args.n - i);
  const int experts = static_cast<int>(args.experts - e < kMost ? args.experts - e : kMost);
  __m256 w[kMost] = {}, d_w[kMost] = {};
  for (int k = 0; k < experts; ++k) {
    w[k] = _mm256_maskload_ps(args.w + (e + k) * args.n + i, mask);
    if (args.d_w != nullptr) d_w[k] = _mm256_maskload_ps(args.d_w + (e + k) * args.n + i, mask);
  }
  for (int64_t t = 0; t < args.rows; ++t) {
    const float* d = args.d_logits + t * args.experts + e;
    const __m256 x = _mm256_maskload_ps(args.x + t * args.x_stride + i, mask);
    float* out = args.d_x + t * args.d_x_stride + i;
    __m256 d_x = _mm256_maskload_ps(out, mask);
    for (int k = 0; k < kMost && k < experts; ++k) {
      const __m256 d_logit = _mm256_broadcast_ss(d + k);
      d_x = _mm256_fmadd_ps(d_logit, w[k], d_x);
      d_w[k] = _mm256_fmadd_ps(d_logit, x, d_w[k]);
    }
    _mm256_maskstore_ps(out, mask, d_x);
  }
  for (int k = 0; k < experts && args.d_w != nullptr; ++k)
    _mm256_maskstore_ps(args.d_w + (e + k) * args.n + i, mask, d_w[k]);
}

void RouterGrad(const RouterGradArgs& args) {
  for (int64_t i = 0; i < args.n; i += kHalf) {
    for (int64_t e = 0; e < args.experts; e += 4) RouterGradStrip(args, i, e);
  }
}

}  // namespace

#define OCTET_TRAIN_ROWS(op_id, member, function)                                     \
  {                                                                                   \
    .name = "x86_avx2/" #member, .op = KernelOp::op_id, .isa = kIsaAvx2, .speed = 10, \
    .member = function                                                                \
  }

OCTET_KERNELS(x86_avx2_train_rows) = {
    OCTET_TRAIN_ROWS(kSwiGluGrad, swiglu_grad, SwiGluGrad),
    OCTET_TRAIN_ROWS(kTargetRow, target_row, TargetRow),
    OCTET_TRAIN_ROWS(kAdamW, adamw, AdamW),
    OCTET_TRAIN_ROWS(kDot, dot, Dot),
    OCTET_TRAIN_ROWS(kRmsNormGrad, rms_norm_grad, RmsNormGrad),
    OCTET_TRAIN_ROWS(kRouterGrad, router_grad, RouterGrad),
    {},
};

}  // namespace octet
