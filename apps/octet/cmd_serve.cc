// octet serve: a model for many clients, over HTTP.
#include <fmt/format.h>
#include <signal.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "command.h"
#include "generate_flags.h"
#include "octet/server.h"

namespace octet::app {
namespace {

struct ServeFlags {
  LoadOptions load;
  ServeOptions serve;
  std::string key_file;
  std::string log = "-";
  double grace_s = 30;
  std::string prefix_cache;
  double prefix_every_s = 300;
  std::vector<std::string> adapters;  // "[NAME=]FOLDER[:SCALE]"
};

/// One key a line; empty lines and those that begin with # do not count.
Status ReadKeys(const std::string& path, std::vector<std::string>& keys) {
  std::ifstream in(path);
  if (!in) return Err(ErrorCode::kNotFound, "cannot open the file of API keys {}", path);
  const size_t before = keys.size();
  for (std::string line; std::getline(in, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty() && line.front() != '#') keys.push_back(line);
  }
  if (keys.size() > before) return {};
  return Err(ErrorCode::kInvalidArgument, "{} holds no API key", path);
}

/// "NAME=FOLDER[:SCALE]" for requests to choose, or one "FOLDER[:SCALE]" for all. A name has no
/// slash, so that folders may have any (./a=b).
Status ReadAdapters(const std::vector<std::string>& texts, ServeFlags& flags) {
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals != std::string::npos && text.find('/') > equals) {
      flags.serve.adapters.push_back({text.substr(0, equals), text.substr(equals + 1)});
    } else if (flags.load.adapter.empty()) {
      flags.load.adapter = text;
    } else {
      return Err(ErrorCode::kInvalidArgument,
                 "--lora {} and {}: only one adapter can be for all requests; name the others, as "
                 "in --lora NAME={}",
                 flags.load.adapter, text, text);
    }
  }
  return {};
}

/// Lines at the end of a file, or on standard error ("-").
class AccessLog {
 public:
  explicit AccessLog(std::string where) : where_(std::move(where)) {}

  /// Again where it is open: somebody may have moved the file away.
  Status Open() {
    if (where_ == "-") return {};
    File file(std::fopen(where_.c_str(), "a"), std::fclose);
    if (!file) return Err(ErrorCode::kIo, "cannot write the access log {}", where_);
    const std::lock_guard lock(mutex_);
    file_ = std::move(file);
    return {};
  }
  void Write(std::string_view line) {
    const std::lock_guard lock(mutex_);
    std::FILE* const file = file_ ? file_.get() : stderr;
    fmt::print(file, "{}\n", line);
    std::fflush(file);
  }

 private:
  using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
  const std::string where_;
  std::mutex mutex_;  // guards what follows
  File file_{nullptr, std::fclose};
};

/// "-": standard error, "off": nowhere, else a file that is added to. `out`: null for nowhere.
Status OpenLog(const std::string& where, ServeOptions& serve, std::shared_ptr<AccessLog>& out) {
  if (where == "off") return {};
  const auto log = std::make_shared<AccessLog>(where);
  OCTET_TRY(log->Open());
  serve.access_log = [log](std::string_view line) { log->Write(line); };
  out = log;
  return {};
}

/// Ctrl-C, SIGTERM and, where there is something to read again, SIGHUP are taken by Wait alone:
/// threads made from now on do not see them.
class Signals {
 public:
  explicit Signals(bool with_hangup) {
    sigemptyset(&set_);
    if (with_hangup) sigaddset(&set_, SIGHUP);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    signal(SIGPIPE, SIG_IGN);  // NOLINT: a client that went away is an error of one write
  }
  /// Until it is time to stop; calls `reload` for every SIGHUP before.
  void Wait(const std::function<void()>& reload) {
    int got = 0;
    while (sigwait(&set_, &got), got == SIGHUP) reload();
    // The next one ends the program at once.
    pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
  }

 private:
  sigset_t set_;
};

/// A file that does not fit is no reason not to serve.
void LoadPrefixes(Server& server, const std::string& path) {
  if (path.empty()) return;
  const auto pages = server.LoadPrefixes(path);
  if (pages) {
    fmt::print(stderr, "{} pages of computed prefixes from {}\n", *pages, path);
  } else if (pages.error().code != ErrorCode::kNotFound) {
    fmt::print(stderr, "prefixes are computed anew: {}\n", pages.error().message);
  }
}

Status SavePrefixes(Server& server, const std::string& path) {
  if (path.empty()) return {};
  OCTET_ASSIGN(const int64_t pages, server.SavePrefixes(path));
  fmt::print(stderr, "{} pages of computed prefixes to {}\n", pages, path);
  return {};
}

/// Saves every so often what is new, until it is told to stop.
class PeriodicSave {
 public:
  PeriodicSave(Server& server, const ServeFlags& flags) {
    if (flags.prefix_cache.empty() || !(flags.prefix_every_s > 0)) return;
    thread_ = std::jthread([&server, path = flags.prefix_cache,
                            every = std::chrono::duration<double>(flags.prefix_every_s),
                            this](const std::stop_token& stop) { Run(server, path, every, stop); });
  }
  /// What is being saved goes on until the server stops.
  void RequestStop() { thread_.request_stop(); }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  void Run(Server& server, const std::string& path, std::chrono::duration<double> every,
           const std::stop_token& stop) {
    uint64_t saved = server.prefix_changes();
    std::string fault;
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, stop, every, [&] { return stop.stop_requested(); })) {
      const uint64_t changes = server.prefix_changes();
      if (changes == saved) continue;
      const auto pages = server.SavePrefixes(path);
      if (pages) saved = changes;
      // A full disk is worth one line, not one every time.
      const std::string now = pages || stop.stop_requested() ? "" : pages.error().message;
      if (!now.empty() && now != fault) Warn("computed prefixes are not saved: " + now);
      fault = now;
    }
  }

  std::mutex mutex_;  // guards nothing: the thread waits with it
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses those above
};

Status Serve(ServeFlags& flags) {
  OCTET_TRY(ReadAdapters(flags.adapters, flags));
  if (!flags.key_file.empty()) OCTET_TRY(ReadKeys(flags.key_file, flags.serve.api_keys));
  std::shared_ptr<AccessLog> log;
  OCTET_TRY(OpenLog(flags.log, flags.serve, log));
  const bool has_files = !flags.serve.tls_cert.empty() || (log && flags.log != "-");
  Signals signals(has_files);
  OCTET_ASSIGN(const auto server, Server::Start(flags.load, flags.serve));
  const ModelInfo& info = server->info();
  WarnOfModel(info);
  fmt::print(stderr, "{}: {} answers at once, {} tokens each, {} threads, loaded in {:.2f} s\n",
             info.name, flags.serve.parallel, info.context, info.threads, info.load_s);
  LoadPrefixes(*server, flags.prefix_cache);
  fmt::print(stderr, "listening on {}\n", server->url());
  PeriodicSave saves(*server, flags);
  signals.Wait([&] {
    Status status = server->ReloadTls();
    if (status && log) status = log->Open();
    fmt::print(stderr, "{}\n",
               status ? "read the certificate and opened the log again" : status.error().message);
  });
  fmt::print(stderr, "stopping: open answers have {} s to end; the signal again ends them\n",
             flags.grace_s);
  saves.RequestStop();
  server->Drain(flags.grace_s);
  saves.Join();
  return SavePrefixes(*server, flags.prefix_cache);
}

void AddAccessFlags(CLI::App& command, ServeFlags& flags) {
  const std::string group = "Who may ask";
  ServeOptions& s = flags.serve;
  command
      .add_option("--tls-cert", s.tls_cert,
                  "HTTPS with this certificate (PEM, with those that vouch for it)")
      ->type_name("FILE")
      ->group(group);
  command.add_option("--tls-key", s.tls_key, "The certificate's key (PEM, without a password)")
      ->type_name("FILE")
      ->group(group);
  command
      .add_option("--api-key", s.api_keys,
                  "A key clients must send, repeatable; others see it in the list of processes")
      ->allow_extra_args(false)
      ->envname("OCTET_API_KEY")
      ->group(group);
  command.add_option("--api-key-file", flags.key_file, "A file with a key on each line")
      ->group(group);
  command
      .add_option("--accounts", s.accounts,
                  "A file of keys, limits and usage (octet keys, octet usage); made if missing")
      ->type_name("FILE")
      ->envname("OCTET_ACCOUNTS")
      ->group(group);
  command
      .add_flag("--open", s.allow_open, "Everybody may ask, also where others reach the address")
      ->group(group);
  command
      .add_option("--cors", s.cors_origin, "Pages of this origin may ask from a browser; * for all")
      ->group(group);
}

void AddLimitFlags(CLI::App& command, ServeFlags& flags) {
  const std::string group = "Limits";
  ServeOptions& s = flags.serve;
  command.add_option("--parallel", s.parallel, "Answers computed at once")->group(group);
  command.add_option("--queue", s.max_waiting, "Requests that may wait; more are refused")
      ->group(group);
  command
      .add_option("--kv-tokens", s.kv_tokens,
                  "Tokens of all answers and kept prefixes together; 0: --parallel times --ctx")
      ->group(group);
  command
      .add_option("--prompt-rows", s.prompt_rows,
                  "Prompt tokens computed a step while others are answered; 0: --batch")
      ->group(group);
  command
      .add_flag("!--no-prefix-cache", s.keep_prefixes, "Compute every prompt from its first token")
      ->group(group);
  command
      .add_option("--prefix-cache", flags.prefix_cache,
                  "Keep computed beginnings of texts in this file from one run to the next")
      ->type_name("FILE")
      ->group(group);
  command
      .add_option("--prefix-cache-every", flags.prefix_every_s,
                  "Seconds after which what is new goes to that file (300); 0: only at the end")
      ->group(group);
  command
      .add_option("--timeout", s.request_timeout_s,
                  "Seconds after which an answer ends as it is; 0: never")
      ->group(group);
  command.add_option("--max-body", s.max_body_bytes, "Bytes of a request")->group(group);
  command.add_option("--max-connections", s.max_connections, "Connections open at once")
      ->group(group);
  command.add_option("--grace", flags.grace_s, "Seconds open answers have to end on SIGTERM")
      ->group(group);
}

}  // namespace

void Add_serve(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("serve", "Serve a model over HTTP, as OpenAI and Anthropic do");
  auto flags = std::make_shared<ServeFlags>();
  AddLoadFlags(*command, flags->load);
  command->remove_option(command->get_option("--lora"));  // here there may be several
  command
      ->add_option("--lora", flags->adapters,
                   "An adapter that requests name as their model, repeatable; without a name it is "
                   "beside the weights for all of them")
      ->type_name("[NAME=]FOLDER[:SCALE]")
      ->allow_extra_args(false);
  command->add_option("--host", flags->serve.host, "Address to listen on (127.0.0.1)");
  command->add_option("--port", flags->serve.port, "Port (8080); 0: any that is free");
  command
      ->add_option("--alias", flags->serve.aliases,
                   "A further name the model answers to, repeatable")
      ->allow_extra_args(false);
  command->add_option("--template", flags->serve.chat_format,
                      "Chat format instead of the model's own");
  command->add_option("--log", flags->log,
                      "Access log, JSON lines: a file, - for standard error, or off");
  command->add_flag("--log-texts", flags->serve.log_texts,
                    "The log has prompts and answers too: whoever reads it reads them");
  AddAccessFlags(*command, *flags);
  AddLimitFlags(*command, *flags);
  OnRun(command, [flags] { return Serve(*flags); });
}

}  // namespace octet::app
