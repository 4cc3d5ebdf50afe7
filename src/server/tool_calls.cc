#include "server/tool_calls.h"

#include "constrain/tool_grammar.h"

namespace octet {

void ToolCallReader::Push(std::string_view piece, std::string& text,
                          std::vector<ToolDelta>& deltas) {
  for (size_t i = 0; i < piece.size(); ++i) {
    if (place_ == Place::kText) {
      text += piece.substr(i);
      return;
    }
    Read(piece[i], deltas);
    if (place_ == Place::kText) text += std::exchange(held_, {});
  }
}

void ToolCallReader::Flush(std::string& text) {
  if (place_ != Place::kBegin) return;
  text += std::exchange(held_, {});
  place_ = Place::kText;
}

void ToolCallReader::ReadArguments(char c, std::vector<ToolDelta>& deltas) {
  calls_.back().arguments += c;
  const size_t index = calls_.size() - 1;
  if (deltas.empty() || deltas.back().call != index) deltas.push_back({index, false, {}});
  deltas.back().arguments += c;
  if (in_string_) {
    if (!escaped_ && c == '"') in_string_ = false;
    escaped_ = !escaped_ && c == '\\';
    return;
  }
  if (c == '"') in_string_ = true;
  if (c == '{' || c == '[') ++depth_;
  if ((c == '}' || c == ']') && --depth_ == 0) place_ = Place::kBetween;
}

void ToolCallReader::Read(char c, std::vector<ToolDelta>& deltas) {
  switch (place_) {
    case Place::kBegin:
      held_ += c;
      if (held_ == kToolCallsBegin) {
        held_.clear();
        place_ = Place::kName;
      } else if (!kToolCallsBegin.starts_with(held_)) {
        place_ = Place::kText;
      }
      return;
    case Place::kName: {
      held_ += c;
      // {"name": "f", "arguments": — names hold neither quotes nor spaces.
      if (!std::string_view(held_).ends_with(kToolArguments)) return;
      const size_t quotes = kToolCallBegin.size() + 1;
      ToolCall call;
      call.name = held_.substr(quotes, held_.size() - quotes - 1 - kToolArguments.size());
      call.id = id_ + std::to_string(calls_.size());
      deltas.push_back({calls_.size(), true, {}});
      calls_.push_back(std::move(call));
      held_.clear();
      depth_ = 0;
      in_string_ = escaped_ = false;
      place_ = Place::kArguments;
      return;
    }
    case Place::kArguments:
      return ReadArguments(c, deltas);
    case Place::kBetween:
      if (c == ']') place_ = Place::kDone;
      if (c != '{') return;
      held_ = c;
      place_ = Place::kName;
      return;
    case Place::kText:
    case Place::kDone:
      return;
  }
}

}  // namespace octet
