// Stop strings, found wherever the borders of tokens fall.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace octet {

/// Feed text piece by piece. What could be the beginning of a stop string is held back until more
/// text decides; the text of a stop string and what follows is never given out.
class StopMatcher {
 public:
  /// The strings must not be empty.
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  /// Appends to `out` the text that is certain. True when a stop string was completed: `out` then
  /// ends where the first one began, and the matcher takes no more text.
  bool Push(std::string_view piece, std::string& out);
  /// Appends what was held back: the text ended without a stop string.
  void Flush(std::string& out);

  /// The stop string that ended the text; empty as long as none has.
  std::string_view matched() const {
    return matched_ < stops_.size() ? std::string_view(stops_[matched_]) : std::string_view();
  }

 private:
  size_t HeldLength() const;

  std::vector<std::string> stops_;
  std::string held_;  // the end of the text, as long as it may begin a stop string
  size_t matched_ = static_cast<size_t>(-1);
};

}  // namespace octet
