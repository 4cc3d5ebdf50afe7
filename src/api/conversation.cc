#include <algorithm>

#include "api/guard.h"
#include "api/language_model.h"

namespace octet {

Conversation::Conversation(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Conversation::~Conversation() = default;
Conversation::Conversation(Conversation&&) noexcept = default;
Conversation& Conversation::operator=(Conversation&&) noexcept = default;

std::vector<ChatMessage>& Conversation::messages() { return impl_->messages; }
const std::vector<ChatMessage>& Conversation::messages() const { return impl_->messages; }

void Conversation::SetSystem(std::string_view text) {
  std::vector<ChatMessage>& messages = impl_->messages;
  if (!messages.empty() && messages.front().role == "system") messages.erase(messages.begin());
  if (!text.empty()) messages.insert(messages.begin(), {"system", std::string(text)});
}

Result<GenerateResult> Conversation::Say(std::string_view text, const GenerateOptions& options,
                                         const PieceCallback& callback) {
  impl_->messages.push_back({"user", std::string(text)});
  auto result = impl_->Answer(options, callback);
  if (!result) impl_->messages.pop_back();
  return result;
}

Result<GenerateResult> Conversation::Retry(const GenerateOptions& options,
                                           const PieceCallback& callback) {
  std::vector<ChatMessage>& messages = impl_->messages;
  const bool answered = !messages.empty() && messages.back().role == "assistant";
  const size_t questions = messages.size() - (answered ? 1 : 0);
  if (questions == 0 || messages[questions - 1].role != "user") {
    return Err(ErrorCode::kInvalidArgument, "there is no message to answer again");
  }
  ChatMessage before = messages.back();
  messages.resize(questions);
  auto result = impl_->Answer(options, callback);
  if (!result && answered) messages.push_back(std::move(before));
  return result;
}

std::string_view Conversation::chat_format() const { return ChatFormatName(impl_->format); }

Result<int64_t> Conversation::Tokens() const {
  const std::vector<ChatMessage>& messages = impl_->messages;
  const bool asked = std::any_of(messages.begin(), messages.end(),
                                 [](const ChatMessage& m) { return m.role != "system"; });
  if (!asked) return 0;
  OCTET_ASSIGN(const Request request, impl_->owner->RenderRequest(impl_->format, messages));
  return static_cast<int64_t>(request.prompt.size());
}

Result<GenerateResult> Conversation::Impl::Answer(const GenerateOptions& options,
                                                  const PieceCallback& callback) {
  // An answer should not end after a few words because old turns fill the context.
  const int64_t answer_room = std::min(options.max_tokens, owner->info.context / 4);
  std::vector<ChatMessage> kept = messages;
  OCTET_ASSIGN(Request request, Fit(answer_room, kept));
  request.session = session;
  OCTET_ASSIGN(GenerateResult result, owner->Run(std::move(request), options, callback));
  result.dropped_messages = static_cast<int64_t>(messages.size() - kept.size());
  messages = std::move(kept);
  messages.push_back({"assistant", result.text});
  return result;
}

Result<Request> Conversation::Impl::Fit(int64_t answer_room, std::vector<ChatMessage>& kept) const {
  const auto first = static_cast<std::ptrdiff_t>(kept.front().role == "system");
  while (true) {
    OCTET_ASSIGN(Request request, owner->RenderRequest(format, kept));
    const int64_t needed = static_cast<int64_t>(request.prompt.size()) + answer_room;
    // A turn is the user's message and what answers it. The last one stays: the engine says so if
    // even that is too long.
    const auto second = std::find_if(kept.begin() + first + 1, kept.end(),
                                     [](const ChatMessage& m) { return m.role == "user"; });
    if (needed <= owner->info.context || second == kept.end()) return request;
    kept.erase(kept.begin() + first, second);
  }
}

}  // namespace octet
