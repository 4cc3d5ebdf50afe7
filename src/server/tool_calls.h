// Tool calls in an answer's text, found as it grows.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace octet {

struct ToolCall {
  std::string id, name;
  std::string arguments;  // JSON, as the model wrote it
};

/// What a piece of text added to one call.
struct ToolDelta {
  size_t call = 0;  // its index
  bool begins = false;
  std::string arguments;
};

/// Reads what ToolGrammar produces: plain text, or calls.
class ToolCallReader {
 public:
  /// `id`: what ids of calls begin with.
  explicit ToolCallReader(std::string id = {}) : id_(std::move(id)) {}
  /// Appends to `text` what is surely plain text, and to `deltas` what belongs to calls.
  void Push(std::string_view piece, std::string& text, std::vector<ToolDelta>& deltas);
  /// The answer is over: appends what was held back and is text after all.
  void Flush(std::string& text);
  const std::vector<ToolCall>& calls() const { return calls_; }
  /// Whether all calls are whole.
  bool complete() const { return place_ == Place::kDone; }

 private:
  enum class Place { kBegin, kText, kName, kArguments, kBetween, kDone };
  void Read(char c, std::vector<ToolDelta>& deltas);
  void ReadArguments(char c, std::vector<ToolDelta>& deltas);

  std::string id_;
  Place place_ = Place::kBegin;
  std::string held_;
  std::vector<ToolCall> calls_;
  int depth_ = 0;
  bool in_string_ = false, escaped_ = false;
};

}  // namespace octet
