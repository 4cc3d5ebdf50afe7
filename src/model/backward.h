// The backward pass: from derivatives of a loss by log-probabilities to gradients of all weights.
#pragma once

#include <cstdint>
#include <span>

#include "model/batch.h"
#include "model/layer_grad.h"
#include "model/parameters.h"
#include "model/tape.h"
#include "model/weights.h"
#include "ops/context.h"

namespace octet {

/// What the batch is asked to predict: after row[i], token id[i]. Rows ascend; masked ones are left
/// out.
struct Targets {
  std::span<const int32_t> row, id;
};

/// Runs Forward with the tape, which then holds everything the functions below read.
void ForwardOnTape(const Model& model, const Batch& batch, Tape& tape, Context& context);

/// log p(id[i]) after row[i], from a tape that ForwardOnTape filled.
void LogProbs(const Model& model, const Tape& tape, const Targets& targets,
              std::span<float> log_prob, Context& context);

struct BackwardTask {
  const Model& model;
  const Batch& batch;
  Tape& tape;
  Targets targets;
  std::span<const float> d_log_prob;  // [R] ∂L/∂log_prob: any objective
  const RouterTerms* router = nullptr;
  const Gradients& grads;  // added to
  bool begins = false;     // the gradients hold nothing yet: they are written. Not with adapters
};

/// Also writes the log-probabilities, with the bits of LogProbs. Bits do not depend on the threads,
/// nor on what the tape kept.
void Backward(const BackwardTask& task, std::span<float> log_prob, Context& context);

}  // namespace octet
