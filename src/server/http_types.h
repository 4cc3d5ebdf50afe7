// Requests and responses as values, and the door through which a handler answers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace octet {

struct HttpRequest {
  std::string method;                                        // "GET"
  std::string path;                                          // before '?', as sent
  std::string query;                                         // after it
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case, as they came
  std::string body;
  bool keep_alive = true;
  bool http_1_0 = false;

  /// The first header of this (lower-case) name; empty when there is none.
  std::string_view Header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (key == name) return value;
    }
    return {};
  }
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};
};

/// What the access log says of a request; handlers add to it.
struct RequestRecord {
  std::string id;
  std::string client;   // whose key, or which address
  int64_t key = 0;      // of the accounts; 0: none
  std::string adapter;  // that answers; empty: the model alone
  int status = 0;
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
  double first_token_s = -1;  // from the request's arrival; negative: none
  std::string finish;
  bool failed = false;  // after the stream began
  /// Where the operator wants them logged: as the model read them, and said.
  std::vector<std::string> prompts = {}, answers = {};
};

/// One request being answered. Used on the server's thread alone; may outlive the connection, and
/// then answers go nowhere.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const HttpRequest& request() const = 0;
  virtual RequestRecord& record() = 0;

  /// The whole answer.
  virtual void Respond(HttpResponse response) = 0;
  /// Or an answer that comes in pieces: headers, then Write, then EndStream.
  virtual void BeginStream(HttpResponse head) = 0;
  virtual void Write(std::string_view piece) = 0;
  /// `last` is the piece that tells the client it has everything.
  virtual void EndStream(std::string_view last) = 0;
  /// Called once if the client goes away before the answer is complete.
  virtual void OnGone(std::function<void()> callback) = 0;
};

}  // namespace octet
