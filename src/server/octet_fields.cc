#include "server/octet_fields.h"

#include <fmt/format.h>

#include <cmath>

namespace octet {
namespace {

using Json = nlohmann::ordered_json;

/// Enough for a colour and a bar.
double Rounded(double value, double steps) { return std::round(value * steps) / steps; }

Json RoutingJson(const std::vector<TokenRouting>& rows) {
  Json out = Json::array();
  for (const TokenRouting& row : rows) {
    Json experts = Json::array(), weights = Json::array();
    const auto k = static_cast<size_t>(row.experts_per_layer);
    for (size_t at = 0; at < row.experts.size(); at += k) {
      Json chosen = Json::array(), shares = Json::array();
      for (size_t j = at; j < at + k; ++j) {
        chosen.push_back(row.experts[j]);
        shares.push_back(Rounded(row.weights[j], 1000));
      }
      experts.push_back(std::move(chosen));
      weights.push_back(std::move(shares));
    }
    out.push_back({{"position", row.position},
                   {"experts", std::move(experts)},
                   {"weights", std::move(weights)}});
  }
  return out;
}

}  // namespace

void ReadOctetFields(JsonFields& fields, GenerationRequest& request) {
  const nlohmann::json* object = fields.Find("octet");
  if (object == nullptr) return;
  if (!object->is_object()) return fields.Fail("octet", "octet: expected an object");
  request.extras = true;
  for (const auto& [name, value] : object->items()) {
    if (name != "trace") {
      return fields.Fail("octet", fmt::format("octet.{}: there is no such field; there is trace",
                                              name.substr(0, 60)));
    }
    if (value == true) {
      request.trace = RoutingTrace::kAnswer;
    } else if (value == "prompt") {
      request.trace = RoutingTrace::kPrompt;
    } else if (value != false && !value.is_null()) {
      return fields.Fail("octet.trace", "octet.trace: expected true, false or \"prompt\"");
    }
  }
}

Json PieceExtras(const Piece& piece) {
  return {{"token", piece.token}, {"routing", RoutingJson(piece.routing)}};
}

Json ChoiceExtras(const Answer& answer, const Choice& choice) {
  const double seconds = choice.last_token_s - choice.first_token_s;
  const double later = static_cast<double>(choice.tokens - 1);
  const double tokens = static_cast<double>(std::max<int64_t>(1, choice.tokens));
  Json out = {
      {"prompt_tokens", answer.prompt_tokens[static_cast<size_t>(choice.prompt)]},
      {"cached_tokens", choice.cached_tokens},
      {"completion_tokens", choice.tokens},
      {"time_to_first_token", Rounded(choice.first_token_s, 1e6)},
      {"tokens_per_second", seconds > 0 ? Json(Rounded(later / seconds, 100)) : Json(nullptr)},
      {"weight_bytes_per_token", static_cast<int64_t>(choice.weight_bytes / tokens)}};
  if (answer.request.stream || answer.request.trace == RoutingTrace::kNone) return out;
  Json& trace = out["tokens"] = Json::array();
  for (const Piece& piece : choice.pieces) {
    Json token = PieceExtras(piece);
    token["text"] = piece.text;
    trace.push_back(std::move(token));
  }
  return out;
}

}  // namespace octet
