#include "server/routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "server/access.h"
#include "server/answer_shape.h"
#include "server/embeddings.h"
#include "server/generation_job.h"
#include "server/json_fields.h"
#include "server/openapi.h"
#include "server/page.h"
#include "server/text_routes.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;
using ExchangePtr = std::shared_ptr<Exchange>;

void RespondJson(const ExchangePtr& exchange, const Json& json, int status = 200) {
  HttpResponse response;
  response.status = status;
  response.body = Dump(json) + "\n";
  exchange->Respond(std::move(response));
}

using Parse = ApiResult<GenerationRequest> (*)(const nlohmann::json&);
using MakeForm = std::unique_ptr<AnswerForm> (*)(const Tokenizer&);

struct Reader {
  Interface interface;
  Parse parse;
};

void Generate(Host& host, const ExchangePtr& exchange, Reader reader, MakeForm make_form) {
  std::unique_ptr<AnswerForm> form = make_form(host.tokenizer);
  auto body = ParseBody(exchange->request().body);
  auto request = body ? reader.parse(*body) : tl::unexpected(body.error());
  if (!request) return exchange->Respond(ErrorResponse(request.error(), form->is_anthropic()));
  const auto shape = ReadAnswerShape(exchange->request().body, reader.interface, *request);
  if (!shape) return exchange->Respond(ErrorResponse(shape.error(), form->is_anthropic()));
  StartGeneration(host, exchange, *std::move(request), std::move(form));
}

void Chat(Host& host, const ExchangePtr& exchange) {
  Generate(host, exchange, {Interface::kChat, ParseChatRequest}, ChatAnswers);
}
void Completions(Host& host, const ExchangePtr& exchange) {
  Generate(host, exchange, {Interface::kCompletions, ParseCompletionRequest}, CompletionAnswers);
}
void Messages(Host& host, const ExchangePtr& exchange) {
  Generate(host, exchange, {Interface::kMessages, ParseMessagesRequest},
           [](const Tokenizer&) { return AnthropicAnswers(); });
}

void Responses(Host& host, const ExchangePtr& exchange) {
  Generate(host, exchange, {Interface::kResponses, ParseResponsesRequest},
           [](const Tokenizer&) { return ResponsesAnswers(); });
}

using Compute = ApiResult<Json> (*)(const Host&, const nlohmann::json&);

void ComputeNow(Host& host, const ExchangePtr& exchange, Compute compute) {
  const auto body = ParseBody(exchange->request().body);
  const auto json = body ? compute(host, *body) : tl::unexpected(body.error());
  if (!json) return exchange->Respond(ErrorResponse(json.error()));
  RespondJson(exchange, *json);
}

void Health(Host& host, const ExchangePtr& exchange) {
  const std::string failure = host.engine.failure();
  if (failure.empty()) return RespondJson(exchange, {{"status", "ok"}});
  RespondJson(exchange, {{"status", "failed"}, {"message", failure}}, 500);
}

void Ready(Host& host, const ExchangePtr& exchange) {
  if (host.engine.failure().empty() && !host.engine.draining()) {
    return RespondJson(exchange, {{"status", "ready"}, {"model", host.model.names.front()}});
  }
  RespondJson(exchange, {{"status", "not ready"}}, 503);
}

void MetricsText(Host& host, const ExchangePtr& exchange) {
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  MetricsSources sources{host.engine.stats(), host.model.names.front(), host.connections};
  if (host.books != nullptr) sources.ledger = host.books->stats();
  sources.expert_load = host.engine.ExpertLoad();
  sources.n_experts = host.engine.config().n_experts;
  response.body = host.metrics.Text(sources);
  exchange->Respond(std::move(response));
}

/// How many tokens each expert computed in each layer since the server began.
void ExpertLoad(Host& host, const ExchangePtr& exchange) {
  const ModelConfig& config = host.engine.config();
  const std::vector<int64_t> counts = host.engine.ExpertLoad();
  Json load = Json::array();
  for (size_t at = 0; at < counts.size(); at += static_cast<size_t>(config.n_experts)) {
    load.push_back(
        std::vector<int64_t>(counts.begin() + static_cast<std::ptrdiff_t>(at),
                             counts.begin() + static_cast<std::ptrdiff_t>(at) + config.n_experts));
  }
  RespondJson(exchange, {{"layers", load.size()},
                         {"experts", config.is_moe() ? config.n_experts : 0},
                         {"experts_per_token", config.is_moe() ? config.n_experts_per_token : 0},
                         {"load", std::move(load)}});
}

void Page(Host& /*host*/, const ExchangePtr& exchange) {
  exchange->Respond(PageResponse(exchange->request()));
}

void OpenApi(Host& /*host*/, const ExchangePtr& exchange) {
  HttpResponse response;
  response.body = OpenApiDocument();
  exchange->Respond(std::move(response));
}

/// Tools are a part of the prompt.
void CountMessageTokens(Host& host, const ExchangePtr& exchange) {
  const std::string& text = exchange->request().body;
  const auto body = ParseBody(text);
  const auto json = body ? CountTokens(host, *body, text) : tl::unexpected(body.error());
  if (!json) return exchange->Respond(ErrorResponse(json.error(), true));
  RespondJson(exchange, *json);
}

struct Route {
  std::string_view method, path;
  bool needs_key;
  void (*handle)(Host&, const ExchangePtr&);
};

constexpr Route kRoutes[] = {
    {"GET", "/health", false, Health},
    {"GET", "/ready", false, Ready},
    {"GET", "/metrics", true, MetricsText},
    {"GET", "/openapi.json", false, OpenApi},
    {"GET", "/", false, Page},
    {"GET", "/page.js", false, Page},
    {"GET", "/page.css", false, Page},
    {"GET", "/icon.svg", false, Page},
    {"GET", "/ui.woff2", false, Page},
    {"GET", "/text.woff2", false, Page},
    {"GET", "/licences.txt", false, Page},
    {"GET", "/v1/octet/experts", true, ExpertLoad},
    {"GET", "/v1/models", true,
     [](Host& h, const ExchangePtr& e) { RespondJson(e, ModelsJson(h)); }},
    {"POST", "/v1/chat/completions", true, Chat},
    {"POST", "/v1/completions", true, Completions},
    {"POST", "/v1/responses", true, Responses},
    {"POST", "/v1/embeddings", true, StartEmbeddings},
    {"POST", "/v1/messages", true, Messages},
    {"POST", "/v1/messages/count_tokens", true, CountMessageTokens},
    {"POST", "/tokenize", true, [](Host& h, const ExchangePtr& e) { ComputeNow(h, e, Tokenize); }},
    {"POST", "/detokenize", true,
     [](Host& h, const ExchangePtr& e) { ComputeNow(h, e, Detokenize); }},
    {"POST", "/apply-template", true,
     [](Host& h, const ExchangePtr& e) { ComputeNow(h, e, ApplyTemplate); }},
};

constexpr std::string_view kModelPath = "/v1/models/";
constexpr size_t kShownName = 200;  // of what a client sent, in messages

void OneModel(Host& host, const ExchangePtr& exchange) {
  const std::string name = exchange->request().path.substr(kModelPath.size());
  if (auto known = CheckModel(host, name); !known) {
    return exchange->Respond(ErrorResponse(known.error()));
  }
  RespondJson(exchange, ModelJson(host, name));
}

/// A browser asks before it sends what another site's page wants.
void Preflight(const Host& host, const ExchangePtr& exchange) {
  HttpResponse response;
  response.status = 204;
  if (!host.cors_origin.empty()) {
    response.headers = {{"access-control-allow-methods", "GET, POST"},
                        {"access-control-allow-headers", "authorization, content-type, x-api-key"},
                        {"access-control-max-age", "600"}};
  }
  exchange->Respond(std::move(response));
}

const Route* FindRoute(std::string_view method, std::string_view path) {
  const auto found = std::ranges::find_if(
      kRoutes, [&](const Route& r) { return r.path == path && r.method == method; });
  return found == std::end(kRoutes) ? nullptr : &*found;
}

void NoRoute(const ExchangePtr& exchange) {
  const HttpRequest& request = exchange->request();
  const auto found =
      std::ranges::find_if(kRoutes, [&](const Route& r) { return r.path == request.path; });
  if (found == std::end(kRoutes)) {
    return exchange->Respond(
        ErrorResponse({404, fmt::format("there is no {} {} here", request.method, request.path)}));
  }
  HttpResponse response = ErrorResponse(
      {405, fmt::format("{} takes {}, not {}", request.path, found->method, request.method)});
  response.headers.emplace_back("allow", std::string(found->method));
  exchange->Respond(std::move(response));
}

}  // namespace

std::vector<std::pair<std::string_view, std::string_view>> KnownRoutes() {
  std::vector<std::pair<std::string_view, std::string_view>> routes;
  for (const Route& route : kRoutes) routes.emplace_back(route.method, route.path);
  return routes;
}

std::string_view KnownPath(std::string_view path) {
  const auto found = std::ranges::find_if(kRoutes, [&](const Route& r) { return r.path == path; });
  if (found != std::end(kRoutes)) return found->path;
  return path.starts_with(kModelPath) ? kModelPath : "other";
}

void HandleRequest(Host& host, const std::shared_ptr<Exchange>& exchange) {
  const HttpRequest& request = exchange->request();
  const bool anthropic = request.path.starts_with("/v1/messages");
  if (auto origin = CheckOrigin(host, request); !origin) {
    return exchange->Respond(ErrorResponse(origin.error(), anthropic));
  }
  if (request.method == "OPTIONS") return Preflight(host, exchange);
  // Both sides views: a common std::string of them would be gone by the next line.
  const std::string_view method =
      request.method == "HEAD" ? std::string_view("GET") : std::string_view(request.method);
  const Route* route = FindRoute(method, request.path);
  const bool is_model = method == "GET" && request.path.starts_with(kModelPath);
  if (route == nullptr || route->needs_key) {
    const auto key = CheckKey(host, request, exchange->record());
    if (!key) return exchange->Respond(ErrorResponse(key.error(), anthropic));
  }
  if (route != nullptr) return route->handle(host, exchange);
  is_model ? OneModel(host, exchange) : NoRoute(exchange);
}

ApiResult<void> CheckModel(const Host& host, const std::string& name) {
  if (name.empty() || std::ranges::find(host.model.names, name) != host.model.names.end())
    return {};
  if (FindAdapter(host, name) > 0) return {};
  std::vector<std::string> names = host.model.names;
  names.insert(names.end(), host.model.adapters.begin(), host.model.adapters.end());
  return tl::unexpected(
      ApiError{404,
               fmt::format("The model \"{}\" does not exist here; there is \"{}\"",
                           name.substr(0, kShownName), fmt::join(names, "\", \"")),
               "model", "model_not_found"});
}

int32_t FindAdapter(const Host& host, std::string_view name) {
  const auto& names = host.model.adapters;
  const auto found = std::ranges::find(names, name);
  return found == names.end() ? 0 : static_cast<int32_t>(found - names.begin()) + 1;
}

ApiResult<int32_t> ChooseAdapter(const Host& host, const std::string& model,
                                 const std::string& adapter) {
  if (auto known = CheckModel(host, model); !known) return tl::unexpected(known.error());
  const int32_t by_model = FindAdapter(host, model);
  if (adapter.empty()) return by_model;
  const auto fault = [](std::string message) {
    return tl::unexpected(ApiError{400, std::move(message), "octet.adapter"});
  };
  const int32_t id = FindAdapter(host, adapter);
  const std::string shown = adapter.substr(0, kShownName);
  if (id == 0 && host.model.adapters.empty()) {
    return fault(
        fmt::format("octet.adapter: \"{}\" is not here, as this server has no adapters "
                    "(octet serve --lora NAME=FOLDER)",
                    shown));
  }
  if (id == 0) {
    return fault(fmt::format("octet.adapter: there is no \"{}\"; there is \"{}\"", shown,
                             fmt::join(host.model.adapters, "\", \"")));
  }
  if (by_model != 0 && by_model != id) {
    return fault(fmt::format(
        "octet.adapter is \"{}\", but model is the adapter \"{}\"; ask for one", shown, model));
  }
  return id;
}

ApiError RefusalError(const Refusal& refusal) {
  switch (refusal.kind) {
    case Refusal::Kind::kInvalid:
      return {400, refusal.message};
    case Refusal::Kind::kQueueFull:
      return {429, refusal.message, "", "queue_full"};
    case Refusal::Kind::kDraining:
      return {503, refusal.message};
    case Refusal::Kind::kFailed:
      return {500, refusal.message};
  }
  return {500, refusal.message};
}

}  // namespace octet
