// Octet as a server: one model, many clients, the interfaces of OpenAI and Anthropic.
// Guide: docs/guides/serve.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "octet/engine.h"
#include "octet/error.h"

namespace octet {

/// An adapter that requests name.
struct NamedAdapter {
  std::string name;     // not the model's or an alias
  std::string adapter;  // as LoadOptions::adapter
};

struct ServeOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;       // 0: any that is free
  int32_t parallel = 8;       // answers computed at once
  int64_t max_waiting = 128;  // requests that may wait beside them; more are refused (429)
  int32_t prompt_rows = 64;   // prompt tokens a step while others are answered; 0: LoadOptions'
  int64_t kv_tokens = 0;      // of all answers and kept prefixes; 0: parallel times the context
  bool keep_prefixes = true;  // beginnings of texts are not computed again
  std::string chat_format;    // empty: the model's own
  std::vector<std::string> aliases;  // further names the model answers to
  /// Beside LoadOptions::adapter, which is for all: each request may have one of these.
  std::vector<NamedAdapter> adapters;

  std::vector<std::string> api_keys;  // empty: everybody who reaches the address may ask
  /// Keys, limits and usage (octet/accounts.h); a new file is made. Empty: none. Its keys are asked
  /// for beside api_keys, unless allow_open.
  std::string accounts;
  /// Listen on an address that others reach without asking for a key.
  bool allow_open = false;
  std::string tls_cert, tls_key;  // PEM files; both or neither: HTTPS instead of HTTP
  std::string cors_origin;  // whose pages browsers may ask from ("*": everybody's); empty: none
  int64_t max_body_bytes = 4 << 20;
  int64_t max_connections = 1024;
  int64_t request_timeout_s = 0;  // an answer ends here, whatever it has; 0: never
  /// Gets a line of JSON for every request; prompts and answers only with log_texts. May be empty.
  std::function<void(std::string_view line)> access_log = {};
  bool log_texts = false;
};

/// A running server, on threads of its own.
class Server {
 public:
  /// Loads the model and listens. Errors name the option, the file or the address.
  static Result<std::unique_ptr<Server>> Start(const LoadOptions& load,
                                               const ServeOptions& options);
  /// Stops at once: open answers end with an error.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  const ModelInfo& info() const;
  uint16_t port() const;
  std::string url() const;  // "http://127.0.0.1:8080"

  /// Reads the certificate and its key anew, for connections that come from now on; those there
  /// were stay where the files are unfit. Nothing happens without TLS.
  Status ReloadTls();

  /// Takes up the beginnings of texts that SavePrefixes kept, so that they are not computed again;
  /// how many pages. kNotFound without such a file; other errors say why it does not fit, or where
  /// it is damaged.
  Result<int64_t> LoadPrefixes(const std::filesystem::path& path);
  /// While answers are computed too: they go on, and the file has what was there at some moment of
  /// it. One call at a time.
  Result<int64_t> SavePrefixes(const std::filesystem::path& path);
  /// Grows with whatever SavePrefixes would find new.
  uint64_t prefix_changes() const;

  /// Takes no more requests, waits for the answers that are open, at most so many seconds, and
  /// stops.
  void Drain(double grace_s);

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet
