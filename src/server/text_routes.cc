#include "server/text_routes.h"

#include "server/answer_shape.h"
#include "server/generation_job.h"
#include "server/json_fields.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;

constexpr int32_t kMostTokens = 1 << 24;

}  // namespace

ApiResult<Json> CountTokens(const Host& host, const nlohmann::json& body, std::string_view text) {
  nlohmann::json whole = body;
  whole["max_tokens"] = 1;
  auto request = ParseMessagesRequest(whole);
  if (!request) return tl::unexpected(request.error());
  const auto shape = ReadAnswerShape(text, Interface::kMessages, *request);
  if (!shape) return tl::unexpected(shape.error());
  if (auto known = CheckModel(host, request->model); !known) return tl::unexpected(known.error());
  auto rendered = RenderMessages(host, *request);
  if (!rendered) return tl::unexpected(rendered.error());
  return Json{{"input_tokens", rendered->prompt.size()}};
}

ApiResult<Json> Tokenize(const Host& host, const nlohmann::json& body) {
  JsonFields fields(body);
  std::vector<int32_t> ids;
  bool add_special = false, with_pieces = false;
  fields.Bool("add_special", add_special);
  fields.Bool("with_pieces", with_pieces);
  if (fields.Find("messages") != nullptr) {
    auto request = ParseMessages(body);
    if (!request) return tl::unexpected(request.error());
    auto rendered = RenderMessages(host, *request);
    if (!rendered) return tl::unexpected(rendered.error());
    ids = std::move(rendered->prompt);
  } else {
    std::string text;
    const char* name = fields.Find("prompt") != nullptr ? "prompt" : "content";
    fields.Text(name, text);
    if (fields.ok() && fields.Find(name) == nullptr) {
      fields.Fail("content", "expected \"content\", a text, or \"messages\"");
    }
    const Vocabulary& vocabulary = host.tokenizer.vocabulary();
    if (add_special && vocabulary.add_bos && vocabulary.bos >= 0) ids.push_back(vocabulary.bos);
    const std::vector<int32_t> encoded = host.tokenizer.Encode(text);
    ids.insert(ids.end(), encoded.begin(), encoded.end());
  }
  if (!fields.ok()) return tl::unexpected(fields.error());
  Json tokens = Json::array();
  for (const int32_t id : ids) {
    if (with_pieces) {
      tokens.push_back({{"id", id}, {"piece", TokenText(host.tokenizer, id)}});
    } else {
      tokens.push_back(id);
    }
  }
  return Json{
      {"tokens", std::move(tokens)}, {"count", ids.size()}, {"max_model_len", host.model.context}};
}

ApiResult<Json> Detokenize(const Host& host, const nlohmann::json& body) {
  JsonFields fields(body);
  const nlohmann::json* tokens = fields.Find("tokens");
  const auto fault = [&] {
    return tl::unexpected(ApiError{400, "tokens: expected an array of token ids", "tokens"});
  };
  if (tokens == nullptr || !tokens->is_array()) return fault();
  std::vector<int32_t> ids;
  for (const nlohmann::json& id : *tokens) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > kMostTokens) {
      return fault();
    }
    ids.push_back(id.get<int32_t>());
  }
  const std::string text = host.tokenizer.Decode(ids);
  return Json{{"content", text}, {"prompt", text}};
}

ApiResult<Json> ApplyTemplate(const Host& host, const nlohmann::json& body) {
  auto request = ParseMessages(body);
  if (!request) return tl::unexpected(request.error());
  auto rendered = RenderMessages(host, *request);
  if (!rendered) return tl::unexpected(rendered.error());
  return Json{{"prompt", TextOf(host.tokenizer, rendered->prompt)},
              {"tokens", rendered->prompt},
              {"format", ChatFormatName(host.chat_format)}};
}

Json ModelJson(const Host& host, const std::string& name) {
  return {{"id", name},
          {"object", "model"},
          {"created", host.model.created},
          {"owned_by", "octet"},
          {"parent", FindAdapter(host, name) > 0 ? Json(host.model.names.front()) : Json(nullptr)},
          {"max_model_len", host.model.context},
          // What Mistral's clients want to see.
          {"type", "base"},
          {"max_context_length", host.model.context},
          {"capabilities",
           {{"completion_chat", true},
            {"completion_fim", false},
            {"function_calling", true},
            {"fine_tuning", false},
            {"vision", false},
            {"classification", false}}},
          {"octet",
           {{"architecture", host.model.architecture},
            {"parameters", host.model.parameters},
            {"vocab_size", host.model.vocab_size},
            {"trained_context", host.model.trained_context},
            {"chat_format", ChatFormatName(host.chat_format)}}}};
}

Json ModelsJson(const Host& host) {
  Json data = Json::array();
  for (const std::string& name : host.model.names) data.push_back(ModelJson(host, name));
  for (const std::string& name : host.model.adapters) data.push_back(ModelJson(host, name));
  return {{"object", "list"}, {"data", std::move(data)}};
}

}  // namespace octet
