#include "model/backward.h"

#include <algorithm>

#include "model/forward.h"
#include "model/layer.h"
#include "ops/embed_grad.h"
#include "ops/rms_norm.h"
#include "ops/rms_norm_grad.h"
#include "ops/rope.h"
#include "ops/rows.h"
#include "ops/softmax_xent.h"

namespace octet {
namespace {

/// out[i] = h[rows[i]].
View<float, 2> Gather(View<const float, 2> h, std::span<const int32_t> rows, Context& context) {
  const int64_t d = h.shape[1];
  auto out = context.scratch.Matrix<float>(static_cast<int64_t>(rows.size()), d);
  ForEachRow(out.shape[0], d, context,
             [&](int64_t i) { std::copy_n(h[rows[static_cast<size_t>(i)]].data, d, out[i].data); });
  return out;
}

/// The last layer's output at the targets' rows, and normalised.
struct HeadInput {
  View<float, 2> h, normed;
};
HeadInput MakeHeadInput(const Model& model, const Tape& tape, const Targets& targets,
                        Context& context) {
  const ModelConfig& c = model.config();
  HeadInput in;
  in.h = Gather(tape.residual(c.n_layers), targets.row, context);
  in.normed = context.scratch.Matrix<float>(in.h.shape[0], c.d_model);
  RmsNorm(in.h, model.weights().final_norm, c.norm_eps, in.normed, context);
  return in;
}

/// What is added to whatever wrote it first, or is not written by everything that runs.
void BeginGradients(const Gradients& grads, Context& context) {
  std::fill_n(grads.final_norm.data, grads.final_norm.data == nullptr ? 0 : grads.final_norm.size(),
              0.0f);
  if (grads.embedding.data == nullptr || grads.embedding.data == grads.head.data) return;
  ForEachRow(grads.embedding.shape[0], grads.embedding.shape[1], context, [&](int64_t t) {
    std::fill_n(grads.embedding[t].data, grads.embedding.shape[1], 0.0f);
  });
}

/// Writes d_h [T, d_model], zero where nothing is predicted.
void HeadBackward(const BackwardTask& task, std::span<float> log_prob, View<float, 2> d_h,
                  Context& context) {
  const Arena::Scope scope(context.scratch);
  const ModelConfig& c = task.model.config();
  const Weights& weights = task.model.weights();
  const HeadInput in = MakeHeadInput(task.model, task.tape, task.targets, context);
  auto d_normed = context.scratch.Matrix<float>(in.h.shape[0], c.d_model);
  TargetLogProbsGrad({in.normed, &weights.head, task.targets.id},
                     {task.d_log_prob, d_normed, task.grads.head, task.begins}, log_prob, context);
  auto d_rows = context.scratch.Matrix<float>(in.h.shape[0], c.d_model);
  std::fill_n(d_rows.data, d_rows.size(), 0.0f);
  RmsNormGrad({in.h, weights.final_norm, c.norm_eps, d_normed, d_rows, task.grads.final_norm},
              context);
  std::fill_n(d_h.data, d_h.size(), 0.0f);
  for (int64_t i = 0; i < d_rows.shape[0]; ++i)
    std::copy_n(d_rows[i].data, c.d_model, d_h[task.targets.row[static_cast<size_t>(i)]].data);
}

/// Fills the tape's intermediates of a layer once more.
void RunAgain(const StepInput& step, const LayerWeights& weights, Tape& tape, Context& context) {
  const Arena::Scope scope(context.scratch);
  const View<const float, 2> input = tape.residual(step.layer);
  auto h = context.scratch.Matrix<float>(input.shape[0], input.shape[1]);
  std::copy_n(input.data, input.size(), h.data);
  LayerForward(step, weights, tape.segments(), h, tape.acts(step.layer), context);
}

}  // namespace

void ForwardOnTape(const Model& model, const Batch& batch, Tape& tape, Context& context) {
  const Arena::Scope scope(context.scratch);
  tape.Begin(batch);
  Forward(model, batch, tape, {.tape = &tape}, context);
}

void LogProbs(const Model& model, const Tape& tape, const Targets& targets,
              std::span<float> log_prob, Context& context) {
  const Arena::Scope scope(context.scratch);
  const HeadInput in = MakeHeadInput(model, tape, targets, context);
  TargetLogProbs({in.normed, &model.weights().head, targets.id}, log_prob, context);
}

void Backward(const BackwardTask& task, std::span<float> log_prob, Context& context) {
  const Arena::Scope scope(context.scratch);
  const ModelConfig& c = task.model.config();
  const Weights& weights = task.model.weights();
  auto d_h = context.scratch.Matrix<float>(task.batch.rows(), c.d_model);
  if (task.begins) BeginGradients(task.grads, context);
  HeadBackward(task, log_prob, d_h, context);
  const RopeTable rope =
      MakeRopeTable(task.batch.position, c.head_dim, c.rope_theta, c.rope_scale, context);
  StepInput step{c, rope, nullptr};
  step.dropout = task.tape.dropout();
  for (auto layer = static_cast<int32_t>(c.n_layers) - 1; layer >= 0; --layer) {
    step.layer = layer;
    const LayerWeights& own = weights.layers[static_cast<size_t>(layer)];
    if (task.tape.MustRecompute(layer)) RunAgain(step, own, task.tape, context);
    LayerBackward(
        {step, own, task.tape.segments(), task.tape.residual(layer), task.tape.acts(layer),
         task.router, task.grads.layers[static_cast<size_t>(layer)], task.begins},
        d_h, context);
  }
  if (task.grads.embedding.data != nullptr)
    EmbedGrad(task.batch.token, d_h, task.grads.embedding, context);
}

}  // namespace octet
