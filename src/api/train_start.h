// The weights a run begins with.
#pragma once

#include "base/result.h"
#include "octet/train.h"
#include "text/tokenizer.h"
#include "train/trained_model.h"

namespace octet {

/// Those of options.model, with adapters beside them where options.lora_rank says so; or random
/// ones of options.shape.
Result<TrainedModel> BeginTraining(const TrainOptions& options, const Tokenizer& tokenizer);

}  // namespace octet
