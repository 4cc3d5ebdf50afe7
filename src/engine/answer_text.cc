#include "engine/answer_text.h"

#include <algorithm>

namespace octet {

AnswerText::AnswerText(const Tokenizer& tokenizer, const Request& request,
                       std::vector<int32_t> end_ids)
    : end_ids_(std::move(end_ids)),
      detokenizer_(tokenizer, request.at_text_start),
      matcher_(request.stop_strings) {}

bool AnswerText::Push(int32_t id, std::string& text) {
  if (std::find(end_ids_.begin(), end_ids_.end(), id) != end_ids_.end()) {
    Finish(text);
    return true;
  }
  return matcher_.Push(detokenizer_.Push(id), text);
}

bool AnswerText::Finish(std::string& text) {
  if (matcher_.Push(detokenizer_.Flush(), text)) return true;
  matcher_.Flush(text);
  return false;
}

}  // namespace octet
