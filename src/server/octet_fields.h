// Octet's own part of requests and answers, under the name "octet".
#pragma once

#include "server/answer.h"
#include "server/json_fields.h"

namespace octet {

/// The object "octet" of a request; a field it does not know is a fault.
void ReadOctetFields(JsonFields& fields, GenerationRequest& request);

/// The same in interfaces whose answers have no place for a trace: that is refused.
void ReadOctetWishes(JsonFields& fields, GenerationRequest& request);

/// What the engine is to do about experts, for a model of so many layers and experts.
ApiResult<ExpertControls> ControlsOf(const GenerationRequest& request, int64_t n_layers,
                                     int64_t n_experts);

/// What a chunk says of one token: its place, and the rows computed for it where they are traced.
nlohmann::ordered_json PieceExtras(const Piece& piece);
/// What is said at the end of an answer: its speed, and in an answer that is not streamed the
/// trace.
nlohmann::ordered_json ChoiceExtras(const Answer& answer, const Choice& choice);

}  // namespace octet
