// From the options to what the engine guesses with.
#pragma once

#include <memory>

#include "base/result.h"
#include "engine/engine.h"
#include "model/weights.h"
#include "octet/engine.h"
#include "text/tokenizer.h"

namespace octet {

/// `model` and `tokenizer` are the loaded model's. A draft model is loaded into `draft_model`,
/// which must live as long as the engine. kInvalidArgument names the option, or says where the two
/// vocabularies differ.
Result<SpeculationOptions> MakeSpeculation(const LoadOptions& options, const EngineOptions& engine,
                                           const Model& model, const Tokenizer& tokenizer,
                                           std::unique_ptr<Model>& draft_model);

}  // namespace octet
