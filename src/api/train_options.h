// TrainOptions, checked and put into what the trainer and the model's parts take.
#pragma once

#include <string>

#include "base/result.h"
#include "kernels/kernel.h"
#include "octet/train.h"
#include "perf/limits.h"
#include "train/mixture.h"
#include "train/trained_model.h"
#include "train/trainer.h"

namespace octet {

/// kInvalidArgument says which option is what, and what was expected.
Status CheckOptions(const TrainOptions& options);

/// options.objective, if it learns from documents of that kind.
Result<Objective> ObjectiveOf(const TrainOptions& options, DocumentKind kind);

/// All that follows from the options alone: nothing of the data, the vocabulary or the model.
Result<TrainerOptions> TrainerOptionsOf(const TrainOptions& options, Objective objective,
                                        const KernelTable& kernels);

/// What a run's speed is a share of.
Peak PeakOf(Precision precision, const KernelTable& kernels);

Result<AdapterFormat> ParseAdapterFormat(const std::string& name);
double AlphaOf(const TrainOptions& options);

}  // namespace octet
