#include "sample/stop_matcher.h"

#include <algorithm>

#include "base/check.h"

namespace octet {

bool StopMatcher::Push(std::string_view piece, std::string& out) {
  CHECK(matched().empty());
  if (stops_.empty()) {
    out += piece;
    return false;
  }
  held_ += piece;
  size_t first = std::string::npos;
  for (size_t i = 0; i < stops_.size(); ++i) {
    const size_t at = held_.find(stops_[i]);
    if (at < first) first = at, matched_ = i;
  }
  const bool found = first != std::string::npos;
  const size_t certain = found ? first : held_.size() - HeldLength();
  out.append(held_, 0, certain);
  held_.erase(0, found ? held_.size() : certain);
  return found;
}

/// Length of the longest end of held_ that a stop string begins with.
size_t StopMatcher::HeldLength() const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > longest; --n) {
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, n))) longest = n;
    }
  }
  return longest;
}

void StopMatcher::Flush(std::string& out) {
  out += held_;
  held_.clear();
}

}  // namespace octet
