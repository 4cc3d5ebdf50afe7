// One connection of a load test: a chat after another, read as its bytes come.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace octet {

struct LoadUrl {
  std::string host, port, path;  // the path before /v1; empty for most
  std::string api_key;
};

/// "http://host:port/path".
Result<LoadUrl> ParseLoadUrl(const std::string& url);

/// What came of one answer.
struct LoadAnswer {
  using Clock = std::chrono::steady_clock;
  Clock::time_point sent, first, last;
  int64_t pieces = 0;  // events with text
  int64_t tokens = 0, prompt_tokens = 0;
  std::string error;        // its kind; empty: none
  std::vector<float> gaps;  // seconds between pieces
};

class LoadStream {
 public:
  explicit LoadStream(const LoadUrl& target) : target_(target) {}
  ~LoadStream() { Close(); }
  LoadStream(const LoadStream&) = delete;
  LoadStream& operator=(const LoadStream&) = delete;

  int fd() const { return socket_; }
  bool answering() const { return answering_; }
  /// Sends a request, on a new connection if there is none. Whether that worked.
  bool Begin(const std::string& body);
  /// Reads what is there. The answer once it is complete or has failed.
  std::optional<LoadAnswer> Read();
  std::optional<LoadAnswer> Fail(std::string kind);
  LoadAnswer::Clock::time_point last_byte() const { return last_byte_; }

 private:
  bool Connect();
  void Close();
  /// Takes whole chunks out of the input; false when it is no HTTP.
  bool TakeChunks();
  void TakeEvents();
  void TakeEvent(std::string_view data);
  std::optional<LoadAnswer> Finish();

  const LoadUrl& target_;
  int socket_ = -1;
  std::string input_, events_;
  bool answering_ = false, has_head_ = false, complete_ = false, keep_ = false;
  int status_ = 0;
  LoadAnswer answer_;
  LoadAnswer::Clock::time_point last_byte_;
};

}  // namespace octet
