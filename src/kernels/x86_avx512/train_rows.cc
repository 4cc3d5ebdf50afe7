// Training's functions of rows, sixteen values at a time.
#include <immintrin.h>

#include "kernels/kernel.h"
#include "kernels/x86_avx512/exp.h"

namespace octet {
namespace {

constexpr int64_t kLanes = 16;

__mmask16 Rest(int64_t left) {
  return static_cast<__mmask16>(left >= kLanes ? 0xffff : (1u << left) - 1);
}

void SwiGluGrad(const SwiGluGradArgs& args) {
  const __m512 one = _mm512_set1_ps(1.0f);
  for (int64_t i = 0; i < args.n; i += kLanes) {
    const __mmask16 mask = Rest(args.n - i);
    const __m512 g = _mm512_maskz_loadu_ps(mask, args.gate + i);
    const __m512 up = _mm512_maskz_loadu_ps(mask, args.up + i);
    const __m512 d = _mm512_maskz_loadu_ps(mask, args.d_hidden + i);
    const __m512 e = ExpNegative(_mm512_or_ps(g, _mm512_set1_ps(-0.0f)));
    const __mmask16 rising = _mm512_cmp_ps_mask(g, _mm512_setzero_ps(), _CMP_GE_OQ);
    const __m512 t = _mm512_div_ps(_mm512_mask_mov_ps(e, rising, one), _mm512_add_ps(one, e));
    const __m512 slope = _mm512_fmadd_ps(g, _mm512_sub_ps(one, t), one);
    const __m512 through = _mm512_mul_ps(_mm512_mul_ps(d, up), t);
    _mm512_mask_storeu_ps(args.d_gate + i, mask, _mm512_mul_ps(through, slope));
    _mm512_mask_storeu_ps(args.d_up + i, mask, _mm512_mul_ps(d, _mm512_mul_ps(g, t)));
  }
}

/// Sixteen sums in double: lanes 0–7 and 8–15.
struct Sums {
  __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();

  double Total() const {
    double lanes[16];
    _mm512_storeu_pd(lanes, low);
    _mm512_storeu_pd(lanes + 8, high);
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    return lanes[0];
  }
};
__m512d LowHalf(__m512 x) { return _mm512_cvtps_pd(_mm512_castps512_ps256(x)); }
__m512d HighHalf(__m512 x) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)); }

float Greatest(const float* z, int64_t n) {
  __m512 best = _mm512_set1_ps(z[0]);
  for (int64_t i = 0; i < n; i += kLanes) {
    const __mmask16 mask = Rest(n - i);
    best = _mm512_mask_max_ps(best, mask, best, _mm512_maskz_loadu_ps(mask, z + i));
  }
  return _mm512_reduce_max_ps(best);
}

void TargetRow(const TargetRowArgs& args) {
  float* z = args.z;
  const float best = Greatest(z, args.n);
  *args.at_target = z[args.target] - best;
  const __m512 shift = _mm512_set1_ps(best);
  Sums sums;
  for (int64_t i = 0; i < args.n; i += kLanes) {
    const __mmask16 mask = Rest(args.n - i);
    const __m512 x = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, z + i), shift);
    const __m512 e = _mm512_maskz_mov_ps(mask, ExpNegative(x));
    _mm512_mask_storeu_ps(z + i, mask, e);
    sums.low = _mm512_add_pd(sums.low, LowHalf(e));
    sums.high = _mm512_add_pd(sums.high, HighHalf(e));
  }
  *args.sum = sums.Total();
  if (args.d_log_prob == nullptr) return;
  const auto scale = static_cast<float>(-static_cast<double>(*args.d_log_prob) / *args.sum);
  for (int64_t i = 0; i < args.n; i += kLanes) {
    const __mmask16 mask = Rest(args.n - i);
    const __m512 e = _mm512_maskz_loadu_ps(mask, z + i);
    _mm512_mask_storeu_ps(z + i, mask, _mm512_mul_ps(e, _mm512_set1_ps(scale)));
  }
  z[args.target] += *args.d_log_prob;
}

void AdamW(const AdamWArgs& a) {
  const __m512 grad_scale = _mm512_set1_ps(a.grad_scale);
  const __m512 beta1 = _mm512_set1_ps(a.beta1), rest1 = _mm512_set1_ps(1.0f - a.beta1);
  const __m512 beta2 = _mm512_set1_ps(a.beta2), rest2 = _mm512_set1_ps(1.0f - a.beta2);
  const __m512 keep = _mm512_set1_ps(a.keep), step = _mm512_set1_ps(a.step);
  const __m512 root_scale = _mm512_set1_ps(a.root_scale), eps = _mm512_set1_ps(a.eps);
  for (int64_t i = 0; i < a.n; i += kLanes) {
    const __mmask16 mask = Rest(a.n - i);
    const __m512 g = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, a.grad + i), grad_scale);
    const __m512 m = _mm512_add_ps(_mm512_mul_ps(beta1, _mm512_maskz_loadu_ps(mask, a.m + i)),
                                   _mm512_mul_ps(rest1, g));
    const __m512 v = _mm512_add_ps(_mm512_mul_ps(beta2, _mm512_maskz_loadu_ps(mask, a.v + i)),
                                   _mm512_mul_ps(_mm512_mul_ps(rest2, g), g));
    const __m512 root = _mm512_add_ps(_mm512_mul_ps(_mm512_sqrt_ps(v), root_scale), eps);
    const __m512 w = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, a.w + i), keep);
    _mm512_mask_storeu_ps(a.m + i, mask, m);
    _mm512_mask_storeu_ps(a.v + i, mask, v);
    _mm512_mask_storeu_ps(a.w + i, mask,
                          _mm512_sub_ps(w, _mm512_div_ps(_mm512_mul_ps(step, m), root)));
  }
}

/// Of one vector, which may come from memory: as Dot, reading once and ahead.
void Squares(const DotArgs& args) {
  constexpr int64_t kAhead = 512;
  Sums sums;
  for (int64_t i = 0; i < args.n; i += kLanes) {
    _mm_prefetch(args.a + i + kAhead, _MM_HINT_T0);
    const __m512 a = _mm512_maskz_loadu_ps(Rest(args.n - i), args.a + i);
    const __m512d low = LowHalf(a), high = HighHalf(a);
    sums.low = _mm512_add_pd(sums.low, _mm512_mul_pd(low, low));
    sums.high = _mm512_add_pd(sums.high, _mm512_mul_pd(high, high));
  }
  *args.sum = sums.Total();
}

void Dot(const DotArgs& args) {
  if (args.a == args.b) return Squares(args);
  Sums sums;
  for (int64_t i = 0; i < args.n; i += kLanes) {
    const __mmask16 mask = Rest(args.n - i);
    const __m512 a = _mm512_maskz_loadu_ps(mask, args.a + i);
    const __m512 b = _mm512_maskz_loadu_ps(mask, args.b + i);
    sums.low = _mm512_add_pd(sums.low, _mm512_mul_pd(LowHalf(a), LowHalf(b)));
    sums.high = _mm512_add_pd(sums.high, _mm512_mul_pd(HighHalf(a), HighHalf(b)));
  }
  *args.sum = sums.Total();
}

void RmsNormGrad(const RmsNormGradArgs& args) {
  Sums squares, dots;
  for (int64_t i = 0; i < args.n; i += kLanes) {
    const __mmask16 mask = Rest(args.n - i);
    const __m512 x = _mm512_maskz_loadu_ps(mask, args.x + i);
    const __m512 w = _mm512_maskz_loadu_ps(mask, args.w + i);
    const __m512 d = _mm512_maskz_loadu_ps(mask, args.d_y + i);
    const __m512d low = LowHalf(x), high = HighHalf(x);
    squares.low = _mm512_add_pd(squares.low, _mm512_mul_pd(low, low));
    squares.high = _mm512_add_pd(squares.high, _mm512_mul_pd(high, high));
    const __m512d dw_low = _mm512_mul_pd(LowHalf(d), LowHalf(w));
    const __m512d dw_high = _mm512_mul_pd(HighHalf(d), HighHalf(w));
    dots.low = _mm512_add_pd(dots.low, _mm512_mul_pd(dw_low, low));
    dots.high = _mm512_add_pd(dots.high, _mm512_mul_pd(dw_high, high));
  }
  const auto n = static_cast<double>(args.n);
  const double r = 1.0 / __builtin_sqrt(squares.Total() / n + args.eps);
  const __m512 scale = _mm512_set1_ps(static_cast<float>(r));
  const __m512 pull = _mm512_set1_ps(static_cast<float>(dots.Total() * r * r * r / n));
  for (int64_t i = 0; i < args.n; i += kLanes) {
    const __mmask16 mask = Rest(args.n - i);
    const __m512 x = _mm512_maskz_loadu_ps(mask, args.x + i);
    const __m512 d = _mm512_maskz_loadu_ps(mask, args.d_y + i);
    const __m512 w = _mm512_maskz_loadu_ps(mask, args.w + i);
    const __m512 change =
        _mm512_sub_ps(_mm512_mul_ps(_mm512_mul_ps(scale, w), d), _mm512_mul_ps(pull, x));
    const __m512 d_x = _mm512_maskz_loadu_ps(mask, args.d_x + i);
    _mm512_mask_storeu_ps(args.d_x + i, mask, _mm512_add_ps(d_x, change));
    if (args.partial == nullptr) continue;
    const __m512 partial = _mm512_maskz_loadu_ps(mask, args.partial + i);
    const __m512 part = _mm512_mul_ps(d, _mm512_mul_ps(x, scale));
    _mm512_mask_storeu_ps(args.partial + i, mask, _mm512_add_ps(partial, part));
  }
}

/// Sixteen columns from i on and up to eight experts from e on: their weights, and the sums of
/// d_w, stay in registers while the rows pass.
void RouterGradStrip(const RouterGradArgs& args, int64_t i, int64_t e) {
  constexpr int kMost = 8;
  const __mmask16 mask = Rest(args.n - i);
  const int experts = static_cast<int>(args.experts - e < kMost ? args.experts - e : kMost);
  __m512 w[kMost], d_w[kMost];
  for (int k = 0; k < kMost; ++k) {
    const __mmask16 own = k < experts ? mask : __mmask16{0};
    w[k] = _mm512_maskz_loadu_ps(own, args.w + (e + k) * args.n + i);
    d_w[k] = args.d_w == nullptr ? _mm512_setzero_ps()
                                 : _mm512_maskz_loadu_ps(own, args.d_w + (e + k) * args.n + i);
  }
  for (int64_t t = 0; t < args.rows; ++t) {
    const float* d = args.d_logits + t * args.experts + e;
    const __m512 x = _mm512_maskz_loadu_ps(mask, args.x + t * args.x_stride + i);
    float* out = args.d_x + t * args.d_x_stride + i;
    __m512 d_x = _mm512_maskz_loadu_ps(mask, out);
    for (int k = 0; k < kMost && k < experts; ++k) {
      const __m512 d_logit = _mm512_set1_ps(d[k]);
      d_x = _mm512_fmadd_ps(d_logit, w[k], d_x);
      d_w[k] = _mm512_fmadd_ps(d_logit, x, d_w[k]);
    }
    _mm512_mask_storeu_ps(out, mask, d_x);
  }
  for (int k = 0; k < experts && args.d_w != nullptr; ++k)
    _mm512_mask_storeu_ps(args.d_w + (e + k) * args.n + i, mask, d_w[k]);
}

void RouterGrad(const RouterGradArgs& args) {
  for (int64_t i = 0; i < args.n; i += kLanes) {
    for (int64_t e = 0; e < args.experts; e += 8) RouterGradStrip(args, i, e);
  }
}

}  // namespace

#define OCTET_TRAIN_ROWS(op_id, member, function)                                         \
  {                                                                                       \
    .name = "x86_avx512/" #member, .op = KernelOp::op_id, .isa = kIsaAvx512, .speed = 20, \
    .member = function                                                                    \
  }

OCTET_KERNELS(x86_avx512_train_rows) = {
    OCTET_TRAIN_ROWS(kSwiGluGrad, swiglu_grad, SwiGluGrad),
    OCTET_TRAIN_ROWS(kTargetRow, target_row, TargetRow),
    OCTET_TRAIN_ROWS(kAdamW, adamw, AdamW),
    OCTET_TRAIN_ROWS(kDot, dot, Dot),
    OCTET_TRAIN_ROWS(kRmsNormGrad, rms_norm_grad, RmsNormGrad),
    OCTET_TRAIN_ROWS(kRouterGrad, router_grad, RouterGrad),
    {},
};

}  // namespace octet
