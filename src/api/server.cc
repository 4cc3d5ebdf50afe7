#include "octet/server.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <thread>

#include "api/guard.h"
#include "api/language_model.h"
#include "engine/service.h"
#include "server/access_log.h"
#include "server/host.h"
#include "server/http_server.h"
#include "server/http_socket.h"
#include "server/routes.h"
#include "service/bookkeeper.h"

namespace octet {
namespace {

using Milliseconds = std::chrono::milliseconds;

Status CheckServeOptions(const ServeOptions& o) {
  constexpr int32_t kMostParallel = 1024;
  if (o.parallel < 1 || o.parallel > kMostParallel) {
    return Err(ErrorCode::kInvalidArgument, "parallel is {}, expected 1 to {}", o.parallel,
               kMostParallel);
  }
  if (o.max_waiting < 0 || o.prompt_rows < 0 || o.kv_tokens < 0 || o.max_body_bytes < 1 ||
      o.max_connections < 1 || o.request_timeout_s < 0) {
    return Err(ErrorCode::kInvalidArgument, "a limit of the server is negative or zero");
  }
  for (const std::string& key : o.api_keys) {
    if (key.empty()) return Err(ErrorCode::kInvalidArgument, "an API key is empty");
  }
  if (IsLoopback(o.host) || !o.api_keys.empty() || !o.accounts.empty() || o.allow_open) {
    return {};
  }
  return Err(
      ErrorCode::kInvalidArgument,
      "others reach {} too, and there is no API key: give one (--api-key-file, --accounts), or "
      "say that everybody may ask (--open)",
      o.host);
}

Result<HttpServerOptions> HttpOptions(const ServeOptions& o) {
  HttpServerOptions http;
  if (o.tls_cert.empty() != o.tls_key.empty()) {
    return Err(ErrorCode::kInvalidArgument, "TLS wants both a certificate and its key");
  }
  if (!o.tls_cert.empty()) {
    OCTET_ASSIGN(http.tls, LoadTls(o.tls_cert, o.tls_key));
  }
  http.host = o.host;
  http.port = o.port;
  http.max_connections = o.max_connections;
  http.limits.body_bytes = static_cast<uint64_t>(o.max_body_bytes);
  http.cors_origin = o.cors_origin;
  return http;
}

ServedModel Describe(const LanguageModel::Impl& model, const ServeOptions& options) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  ServedModel served;
  served.names = {model.info.name};
  served.names.insert(served.names.end(), options.aliases.begin(), options.aliases.end());
  for (const NamedAdapter& adapter : options.adapters) served.adapters.push_back(adapter.name);
  served.architecture = model.info.architecture;
  served.created = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  served.context = model.info.context;
  served.trained_context = model.info.trained_context;
  served.vocab_size = model.info.vocab_size;
  served.parameters = model.info.parameters;
  return served;
}

/// A name stands for one thing.
Status CheckNames(const ServedModel& served) {
  for (const std::string& name : served.adapters) {
    if (std::ranges::find(served.names, name) == served.names.end()) continue;
    return Err(ErrorCode::kInvalidArgument,
               "the adapter \"{}\" has a name of the model; give it another: --lora NAME=FOLDER",
               name);
  }
  return {};
}

}  // namespace

struct Server::Impl {
  std::shared_ptr<LanguageModel::Impl> model;
  std::unique_ptr<EngineService> engine;
  std::unique_ptr<Host> host;
  std::unique_ptr<HttpServer> http;
  std::unique_ptr<Bookkeeper> books;  // after http, whose thread hears of rows; null: no accounts
  std::thread thread;                 // the server's
  std::string tls_cert, tls_key;      // empty: plain HTTP

  Status Open(const ServeOptions& options);
  void WaitForConnections(Milliseconds at_most);
  void Stop();
};

Status Server::Impl::Open(const ServeOptions& options) {
  OCTET_ASSIGN(const ChatFormat format, model->FindChatFormat(options.chat_format));
  EngineServiceOptions service;
  ServedModel served = Describe(*model, options);
  OCTET_TRY(CheckNames(served));
  service.max_waiting = options.max_waiting;
  service.told = [this] {
    if (http) http->Wake();
  };
  engine = std::make_unique<EngineService>(std::move(model->engine), service);
  host = std::make_unique<Host>(Host{*engine,
                                     *model->tokenizer,
                                     format,
                                     std::move(served),
                                     options.api_keys,
                                     options.cors_origin,
                                     IsLoopback(options.host),
                                     std::chrono::seconds(options.request_timeout_s),
                                     {}});
  if (!options.accounts.empty()) {
    OCTET_ASSIGN(books, Bookkeeper::Open(options.accounts));
    host->books = books.get();
  }
  host->log_texts = options.log_texts;
  host->needs_key = !options.api_keys.empty() || (books && !options.allow_open);
  auto handle = [host = host.get(), this](const std::shared_ptr<Exchange>& exchange) {
    host->connections = http->connections();
    const auto handled =
        Guarded([&]() -> Status { return HandleRequest(*host, exchange), Status(); });
    if (!handled) exchange->Respond(ErrorResponse({500, handled.error().message}));
  };
  auto log = [host = host.get(), write = options.access_log](
                 const HttpRequest& request, const RequestRecord& record, double seconds) {
    host->metrics.RequestDone(KnownPath(request.path), record.status, seconds);
    if (!record.adapter.empty()) {
      host->metrics.AdapterUsed(record.adapter, record.prompt_tokens, record.completion_tokens);
    }
    if (write) write(AccessLogLine(request, record, seconds));
  };
  OCTET_ASSIGN(const HttpServerOptions http_options, HttpOptions(options));
  OCTET_ASSIGN(http, HttpServer::Listen(http_options, std::move(handle), std::move(log)));
  tls_cert = options.tls_cert;
  tls_key = options.tls_key;
  host->post = [http = http.get()](std::function<void()> task) { http->Post(std::move(task)); };
  host->post_from_sink = [http = http.get()](std::function<void()> task) {
    http->PostQuietly(std::move(task));
  };
  thread = std::thread([http = http.get()] { http->Run(); });
  return {};
}

void Server::Impl::WaitForConnections(Milliseconds at_most) {
  const auto end = std::chrono::steady_clock::now() + at_most;
  int64_t open = 1;
  while (open > 0 && std::chrono::steady_clock::now() < end) {
    std::promise<int64_t> count;
    http->Post([&] { count.set_value(http->connections()); });
    open = count.get_future().get();
    if (open > 0) std::this_thread::sleep_for(Milliseconds(10));
  }
}

void Server::Impl::Stop() {
  if (!thread.joinable()) return;
  http->StopAccepting();
  engine->Stop();  // everybody who still waits hears an error
  WaitForConnections(Milliseconds(500));
  http->Stop();
  thread.join();
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { impl_->Stop(); }

Result<std::unique_ptr<Server>> Server::Start(const LoadOptions& load,
                                              const ServeOptions& options) {
  return Guarded([&]() -> Result<std::unique_ptr<Server>> {
    OCTET_TRY(CheckServeOptions(options));
    auto impl = std::make_unique<Impl>();
    EngineShape shape;
    shape.parallel = options.parallel;
    shape.prompt_rows = options.prompt_rows;
    shape.kv_tokens = options.kv_tokens;
    shape.keep_prefixes = options.keep_prefixes;
    shape.adapters = options.adapters;
    OCTET_ASSIGN(impl->model, LoadImpl(load, shape));
    OCTET_TRY(impl->Open(options));
    return std::unique_ptr<Server>(new Server(std::move(impl)));
  });
}

const ModelInfo& Server::info() const { return impl_->model->info; }
uint16_t Server::port() const { return impl_->http->port(); }

std::string Server::url() const {
  const std::string& host = impl_->http->host();
  const bool is_v6 = host.find(':') != std::string::npos;
  const char* scheme = impl_->tls_cert.empty() ? "http" : "https";
  return fmt::format("{}://{}:{}", scheme, is_v6 ? "[" + host + "]" : host, port());
}

Status Server::ReloadTls() {
  if (impl_->tls_cert.empty()) return {};
  OCTET_ASSIGN(auto tls, LoadTls(impl_->tls_cert, impl_->tls_key));
  impl_->http->Post([http = impl_->http.get(), tls = std::move(tls)] { http->ReplaceTls(tls); });
  return {};
}

Result<int64_t> Server::LoadPrefixes(const std::filesystem::path& path) {
  return Guarded([&] { return impl_->engine->LoadPrefixes(path); });
}

Result<int64_t> Server::SavePrefixes(const std::filesystem::path& path) {
  return Guarded([&] { return impl_->engine->SavePrefixes(path); });
}

uint64_t Server::prefix_changes() const {
  return static_cast<uint64_t>(impl_->engine->stats().prefixes_kept);
}

void Server::Drain(double grace_s) {
  impl_->http->StopAccepting();
  impl_->engine->Drain();
  impl_->engine->WaitUntilIdle(Milliseconds(static_cast<int64_t>(grace_s * 1000)));
  impl_->WaitForConnections(Milliseconds(2500));
  impl_->Stop();
}

}  // namespace octet
