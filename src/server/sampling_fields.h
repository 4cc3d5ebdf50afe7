// The fields of a request that tell how tokens are chosen.
#pragma once

#include "server/generation_request.h"
#include "server/json_fields.h"

namespace octet {

/// OpenAI's fields, and Octet's further samplers under the names of `octet run`. Sampling that is
/// not asked for is off: temperature 1 and the model's own distribution.
void ReadSampling(JsonFields& fields, GenerationRequest& request);

}  // namespace octet
