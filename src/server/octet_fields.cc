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
      for (size_t j = at; j < at + k && row.experts[j] >= 0; ++j) {
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

constexpr int32_t kMostExperts = 64;  // bits of a mask
constexpr size_t kMostLayers = 4096;

void ReadTrace(JsonFields& fields, const nlohmann::json& value, GenerationRequest& request) {
  if (value == true) {
    request.trace = RoutingTrace::kAnswer;
  } else if (value == "prompt") {
    request.trace = RoutingTrace::kPrompt;
  } else if (value != false && !value.is_null()) {
    fields.Fail("octet.trace", "octet.trace: expected true, false or \"prompt\"");
  }
}

bool ReadExperts(const nlohmann::json& array, std::vector<int32_t>& experts) {
  if (!array.is_array() || array.size() > kMostExperts) return false;
  for (const nlohmann::json& expert : array) {
    if (!expert.is_number_integer()) return false;
    const auto value = expert.get<int64_t>();
    if (value < 0 || value >= kMostExperts) return false;
    experts.push_back(static_cast<int32_t>(value));
  }
  return true;
}

/// [3, 5] in all layers, or [[3], [], [5], …], a list for each.
void ReadMasked(JsonFields& fields, const nlohmann::json& value, GenerationRequest& request) {
  if (value.is_null() || (value.is_array() && value.empty())) return;
  bool good = value.is_array() && value.size() <= kMostLayers;
  request.masked_by_layer = good && value.front().is_array();
  if (good && !request.masked_by_layer) {
    good = ReadExperts(value, request.masked_experts.emplace_back());
  } else if (good) {
    for (const nlohmann::json& layer : value)
      good = good && ReadExperts(layer, request.masked_experts.emplace_back());
  }
  if (good) return;
  fields.Fail("octet.masked_experts",
              "octet.masked_experts: expected an array of experts, counted from 0, or an array of "
              "such arrays, one for each layer");
}

}  // namespace

ApiResult<ExpertControls> ControlsOf(const GenerationRequest& request, int64_t n_layers,
                                     int64_t n_experts) {
  ExpertControls controls;
  controls.top_k = request.expert_top_k;
  if (request.masked_experts.empty()) return controls;
  const auto fault = [](std::string message) {
    return tl::unexpected(ApiError{400, std::move(message), "octet.masked_experts"});
  };
  const auto layers = static_cast<int64_t>(request.masked_experts.size());
  if (request.masked_by_layer && layers != n_layers) {
    return fault(fmt::format("octet.masked_experts has lists for {} layers, the model has {}",
                             layers, n_layers));
  }
  for (int64_t layer = 0; layer < n_layers; ++layer) {
    const auto at = static_cast<size_t>(request.masked_by_layer ? layer : 0);
    uint64_t& mask = controls.without.emplace_back(0);
    for (const int32_t expert : request.masked_experts[at]) {
      if (expert >= n_experts) {
        return fault(fmt::format("octet.masked_experts names expert {}, the model has 0 to {}",
                                 expert, n_experts - 1));
      }
      mask |= uint64_t{1} << expert;
    }
  }
  return controls;
}

void ReadOctetFields(JsonFields& fields, GenerationRequest& request) {
  const nlohmann::json* object = fields.Find("octet");
  if (object == nullptr) return;
  if (!object->is_object()) return fields.Fail("octet", "octet: expected an object");
  request.extras = true;
  for (const auto& [name, value] : object->items()) {
    if (name == "trace") {
      ReadTrace(fields, value, request);
    } else if (name == "masked_experts") {
      ReadMasked(fields, value, request);
    } else if (name != "top_k" && name != "adapter") {
      return fields.Fail("octet", fmt::format("octet.{}: there is no such field; there are trace, "
                                              "top_k, masked_experts and adapter",
                                              name.substr(0, 60)));
    }
  }
  JsonFields inner(*object);
  inner.Integer("top_k", request.expert_top_k, 1, kMostExperts);
  inner.Text("adapter", request.adapter);
  if (!inner.ok()) fields.Fail("octet." + inner.error().param, "octet." + inner.error().message);
}

void ReadOctetWishes(JsonFields& fields, GenerationRequest& request) {
  ReadOctetFields(fields, request);
  if (request.trace != RoutingTrace::kNone)
    fields.Fail("octet.trace", "octet.trace: chats and completions alone show traces");
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
