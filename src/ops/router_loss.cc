#include "ops/router_loss.h"

#include <cmath>

#include "ops/rows.h"

namespace octet {
namespace {

/// Writes softmax(z) to `p` and returns logsumexp(z).
double Softmax(const float* z, int64_t n, double* p) {
  double best = z[0];
  for (int64_t e = 1; e < n; ++e) best = std::max<double>(best, z[e]);
  double sum = 0;
  for (int64_t e = 0; e < n; ++e) {
    p[e] = std::exp(z[e] - best);
    sum += p[e];
  }
  for (int64_t e = 0; e < n; ++e) p[e] /= sum;
  return best + std::log(sum);
}

/// One layer's part; layers have their own elements, so each can be a task.
void MeasureLayer(const RoutedLayer& layer, int64_t index, RouterStatistics& out, double* p) {
  const int64_t n = out.n_experts;
  for (int64_t t = 0; t < out.rows; ++t) {
    const double log_sum = Softmax(layer.logits[t].data, n, p);
    out.z_sum[static_cast<size_t>(index)] += log_sum * log_sum;
    for (int64_t e = 0; e < n; ++e) out.prob_sum[static_cast<size_t>(index * n + e)] += p[e];
    for (const int32_t e : layer.experts[t]) ++out.load[static_cast<size_t>(index * n + e)];
  }
}

/// f_e as the loss of one layer sees it: over all layers' rows, or its own.
double LoadShare(const RouterStatistics& s, bool pooled, int64_t layer, int64_t e) {
  int64_t load = 0;
  for (int64_t l = pooled ? 0 : layer; l < (pooled ? s.layers : layer + 1); ++l)
    load += s.load[static_cast<size_t>(l * s.n_experts + e)];
  return static_cast<double>(load) / static_cast<double>(s.rows * (pooled ? s.layers : 1));
}

}  // namespace

RouterStatistics MeasureRouters(std::span<const RoutedLayer> layers, Context& context) {
  RouterStatistics out;
  if (layers.empty()) return out;
  out.layers = static_cast<int64_t>(layers.size());
  out.rows = layers[0].logits.shape[0];
  out.n_experts = layers[0].logits.shape[1];
  const auto cells = static_cast<size_t>(out.layers * out.n_experts);
  out.load.resize(cells);
  out.prob_sum.resize(cells);
  out.z_sum.resize(layers.size());
  const Arena::Scope scope(context.scratch);
  auto p = context.scratch.Matrix<double>(out.layers, out.n_experts);
  context.pool.ParallelFor(out.layers, [&](int64_t l, int) {
    MeasureLayer(layers[static_cast<size_t>(l)], l, out, p[l].data);
  });
  return out;
}

double BalanceLoss(const RouterStatistics& s, bool pooled) {
  if (s.rows == 0) return 0;
  double loss = 0;
  for (int64_t l = 0; l < s.layers; ++l) {
    for (int64_t e = 0; e < s.n_experts; ++e)
      loss += LoadShare(s, pooled, l, e) * s.prob_sum[static_cast<size_t>(l * s.n_experts + e)];
  }
  return static_cast<double>(s.n_experts) * loss / static_cast<double>(s.rows * s.layers);
}

double ZLoss(const RouterStatistics& s) {
  if (s.rows == 0) return 0;
  double sum = 0;
  for (const double z : s.z_sum) sum += z;
  return sum / static_cast<double>(s.rows * s.layers);
}

void RouterLossGrad(const RouterLossGradTask& task, Context& context) {
  const RouterStatistics& s = task.statistics;
  const int64_t n = s.n_experts;
  const double mean = task.scale / static_cast<double>(s.rows * s.layers);
  const double balance = task.options.balance * mean * static_cast<double>(n);
  const double z = task.options.z * mean * 2;
  const Arena::Scope scope(context.scratch);
  auto share = context.scratch.Vector<double>(n);
  for (int64_t e = 0; e < n; ++e) share[e] = LoadShare(s, task.options.pooled, task.layer, e);
  auto probabilities = context.scratch.Matrix<double>(s.rows, n);
  ForEachRow(s.rows, n * 16, context, [&](int64_t t) {
    double* p = probabilities[t].data;
    const double log_sum = Softmax(task.logits[t].data, n, p);
    double expected = 0;
    for (int64_t e = 0; e < n; ++e) expected += p[e] * share[e];
    for (int64_t e = 0; e < n; ++e) {
      task.d_logits[t][e] +=
          static_cast<float>(p[e] * (balance * (share[e] - expected) + z * log_sum));
    }
  });
}

}  // namespace octet
