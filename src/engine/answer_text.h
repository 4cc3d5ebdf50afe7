// From an answer's tokens to the text a client may see.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"
#include "sample/stop_matcher.h"
#include "text/detokenizer.h"

namespace octet {

class AnswerText {
 public:
  /// `end_ids` end the answer and have no text.
  AnswerText(const Tokenizer& tokenizer, const Request& request, std::vector<int32_t> end_ids);

  /// Appends to `text` what became certain; true when this token ends the answer.
  bool Push(int32_t id, std::string& text);
  /// Appends what was held back: the answer ended for another reason. True when the last bytes
  /// complete a stop string after all.
  bool Finish(std::string& text);
  std::span<const int32_t> end_ids() const { return end_ids_; }
  /// The stop string that ended the answer; empty where none did.
  std::string_view stop() const { return matcher_.matched(); }

 private:
  std::vector<int32_t> end_ids_;
  Detokenizer detokenizer_;
  StopMatcher matcher_;
};

}  // namespace octet
