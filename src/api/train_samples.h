// What a model writes while it is being trained.
#pragma once

#include <vector>

#include "base/result.h"
#include "octet/train.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "train/mixture.h"
#include "train/trained_model.h"

namespace octet {

/// One text for each of options.sample_prompts; `kind` of what is learned says whether the prompt
/// is a text's beginning or a question. The same weights and options give the same texts.
Result<std::vector<TrainSample>> SampleModel(const TrainedModel& trained,
                                             const Tokenizer& tokenizer, DocumentKind kind,
                                             const TrainOptions& options);

}  // namespace octet
