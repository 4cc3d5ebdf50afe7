#include "text/chat_template.h"

#include <algorithm>
#include <array>
#include <utility>

#include "text/vocabulary.h"

namespace octet {
namespace {

constexpr std::array<std::pair<ChatFormat, std::string_view>, 6> kNames = {{
    {ChatFormat::kRaw, "raw"},
    {ChatFormat::kMistralV1, "mistral-v1"},
    {ChatFormat::kMistralV3, "mistral-v3"},
    {ChatFormat::kLlama2, "llama2"},
    {ChatFormat::kChatMl, "chatml"},
    {ChatFormat::kZephyr, "zephyr"},
}};

using Messages = std::span<const ChatMessage>;

/// Ids under construction. Each call encodes its text on its own, so it starts with the dummy
/// prefix, and a conversation's ids are a prefix of those of the same conversation continued.
class Builder {
 public:
  explicit Builder(const Tokenizer& tokenizer)
      : tokenizer_(tokenizer), vocabulary_(tokenizer.vocabulary()) {}

  void Text(std::string_view text, bool assistant = false) {
    const std::vector<int32_t> ids = tokenizer_.Encode(text);
    chat_.ids.insert(chat_.ids.end(), ids.begin(), ids.end());
    chat_.is_assistant.resize(chat_.ids.size(), assistant);
  }
  void Id(int32_t id, bool assistant = false) {
    if (id < 0) return;  // the vocabulary has no such token
    chat_.ids.push_back(id);
    chat_.is_assistant.push_back(assistant);
  }
  /// `head` and `answer` as one text, of which the answer's tokens are the assistant's. A token
  /// that spans the border counts as the assistant's: the model has to produce it.
  void Answer(std::string_view head, std::string_view answer) {
    const std::vector<int32_t> alone = tokenizer_.Encode(head);
    const std::vector<int32_t> whole = tokenizer_.Encode(std::string(head) + std::string(answer));
    const auto border =
        std::mismatch(alone.begin(), alone.end(), whole.begin(), whole.end()).second;
    chat_.ids.insert(chat_.ids.end(), whole.begin(), whole.end());
    chat_.is_assistant.resize(chat_.ids.size() - (whole.end() - border), 0);
    chat_.is_assistant.resize(chat_.ids.size(), 1);
  }
  void Bos() { Id(vocabulary_.bos); }
  void BosIfModelHasIt() {
    if (vocabulary_.add_bos) Bos();
  }
  void Eos(bool assistant) { Id(vocabulary_.eos, assistant); }
  void StopAt(std::string text) { chat_.stop_strings.push_back(std::move(text)); }
  void StopAt(int32_t id) {
    if (id >= 0 && id != vocabulary_.eos) chat_.stop_ids.push_back(id);
  }
  const Vocabulary& vocabulary() const { return vocabulary_; }
  RenderedChat Take() { return std::move(chat_); }

 private:
  const Tokenizer& tokenizer_;
  const Vocabulary& vocabulary_;
  RenderedChat chat_;
};

/// A conversation taken apart: the system text, and the turns after it.
struct Turns {
  const std::string* system = nullptr;
  Messages rest;
  bool open = false;  // the last turn is the assistant's, to be continued

  bool IsOpen(size_t i) const { return open && i + 1 == rest.size(); }
  bool AwaitsAnswer() const { return rest.empty() || rest.back().role != "assistant"; }
};

Status CheckRoles(Messages messages) {
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role != "system" && role != "user" && role != "assistant") {
      return Err(ErrorCode::kInvalidArgument,
                 "message {}: unknown role '{}'; expected system, user or assistant", i, role);
    }
    if (role == "system" && i > 0) {
      return Err(ErrorCode::kInvalidArgument,
                 "message {}: a system message is only possible as message 0", i);
    }
  }
  return {};
}

Result<Turns> Split(Messages messages, ChatOptions options) {
  if (messages.empty()) {
    return Err(ErrorCode::kInvalidArgument, "the conversation has no messages");
  }
  OCTET_TRY(CheckRoles(messages));
  if (options.continue_last && messages.back().role != "assistant") {
    return Err(ErrorCode::kInvalidArgument,
               "message {}: only an assistant's message can be continued, this is the {}'s",
               messages.size() - 1, messages.back().role);
  }
  Turns turns;
  turns.rest = messages;
  turns.open = options.continue_last;
  if (messages[0].role == "system") {
    turns.system = &messages[0].content;
    turns.rest = messages.subspan(1);
  }
  return turns;
}

/// For formats that pair each user text with one answer.
Status CheckAlternation(ChatFormat format, const Turns& turns) {
  const size_t first = turns.system != nullptr ? 1 : 0;
  if (turns.rest.empty()) {
    return Err(ErrorCode::kInvalidArgument,
               "a conversation with only a system message cannot be written as {}; add a user "
               "message",
               ChatFormatName(format));
  }
  for (size_t i = 0; i < turns.rest.size(); ++i) {
    const std::string_view expected = i % 2 == 0 ? "user" : "assistant";
    if (turns.rest[i].role != expected) {
      return Err(ErrorCode::kInvalidArgument,
                 "message {}: the role is '{}', expected '{}'; in {} user and assistant alternate, "
                 "beginning with user",
                 i + first, turns.rest[i].role, expected, ChatFormatName(format));
    }
  }
  return {};
}

std::string Strip(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\n\v\f\r";
  const size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(kSpaces) - first + 1));
}

/// The answer of an [INST] format, closed unless it is to be continued.
void CloseAnswer(Builder& builder, const Turns& turns, size_t i, std::string_view text) {
  builder.Text(text, true);
  if (!turns.IsOpen(i)) builder.Eos(true);
}

/// The system text goes before the first user text (mistral-common's tokenizer V1).
void RenderMistralV1(const Turns& turns, Builder& builder) {
  builder.Bos();
  for (size_t i = 0; i < turns.rest.size(); ++i) {
    const std::string& content = turns.rest[i].content;
    if (i % 2 == 1) {
      CloseAnswer(builder, turns, i, content);
      continue;
    }
    const bool with_system = i == 0 && turns.system != nullptr && !turns.system->empty();
    builder.Text("[INST] " + (with_system ? *turns.system + "\n\n" : std::string()) + content +
                 " [/INST]");
  }
}

/// Markers are tokens, and the system text goes before the last user text (tokenizer V3).
Status RenderMistralV3(const Turns& turns, Builder& builder) {
  const int32_t begin = FindControl(builder.vocabulary(), "[INST]");
  const int32_t end = FindControl(builder.vocabulary(), "[/INST]");
  if (begin < 0 || end < 0) {
    return Err(ErrorCode::kInvalidArgument,
               "mistral-v3 needs the control tokens [INST] and [/INST], which this vocabulary does "
               "not have; use mistral-v1");
  }
  const size_t last_user = (turns.rest.size() - 1) / 2 * 2;
  builder.Bos();
  for (size_t i = 0; i < turns.rest.size(); ++i) {
    const std::string& content = turns.rest[i].content;
    if (i % 2 == 1) {
      CloseAnswer(builder, turns, i, content);
      continue;
    }
    const bool with_system = i == last_user && turns.system != nullptr && !turns.system->empty();
    builder.Id(begin);
    builder.Text(with_system ? *turns.system + "\n\n" + content : content);
    builder.Id(end);
  }
  return {};
}

/// Texts are stripped and each pair starts with BOS, as in Meta's generation code for Llama 2.
void RenderLlama2(const Turns& turns, Builder& builder) {
  for (size_t i = 0; i < turns.rest.size(); ++i) {
    if (i % 2 == 1) {
      const std::string answer = Strip(turns.rest[i].content);
      CloseAnswer(builder, turns, i, turns.IsOpen(i) ? answer : answer + " ");
      continue;
    }
    std::string text = turns.rest[i].content;
    if (i == 0 && turns.system != nullptr) {
      text = "<<SYS>>\n" + *turns.system + "\n<</SYS>>\n\n" + text;
    }
    builder.Bos();
    builder.Text("[INST] " + Strip(text) + " [/INST]");
  }
}

/// <|im_start|> and <|im_end|> as control tokens.
void RenderChatMlIds(const Messages messages, const Turns& turns, Builder& builder) {
  const int32_t begin = FindControl(builder.vocabulary(), "<|im_start|>");
  const int32_t end = FindControl(builder.vocabulary(), "<|im_end|>");
  for (size_t i = 0; i < messages.size(); ++i) {
    const bool assistant = messages[i].role == "assistant";
    builder.Id(begin);
    if (assistant) {
      builder.Answer("assistant\n", messages[i].content);
    } else {
      builder.Text(messages[i].role + "\n" + messages[i].content);
    }
    if (turns.open && i + 1 == messages.size()) return;
    builder.Id(end, assistant);
    builder.Text("\n");
  }
  if (!turns.AwaitsAnswer()) return;
  builder.Id(begin);
  builder.Text("assistant\n");
}

/// A vocabulary without the markers spells them: each message is one text.
void RenderChatMlText(const Messages messages, const Turns& turns, Builder& builder) {
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    const bool open = turns.open && i + 1 == messages.size();
    const std::string head = "<|im_start|>" + message.role + "\n";
    const std::string body = message.content + (open ? "" : "<|im_end|>");
    if (message.role == "assistant") {
      builder.Answer(head, body);
      if (!open) builder.Text("\n");
    } else {
      builder.Text(head + body + "\n");
    }
  }
  if (turns.AwaitsAnswer()) builder.Text("<|im_start|>assistant\n");
}

void RenderChatMl(const Messages messages, const Turns& turns, Builder& builder) {
  const int32_t end = FindControl(builder.vocabulary(), "<|im_end|>");
  builder.BosIfModelHasIt();
  if (end >= 0 && FindControl(builder.vocabulary(), "<|im_start|>") >= 0) {
    RenderChatMlIds(messages, turns, builder);
    builder.StopAt(end);
  } else {
    RenderChatMlText(messages, turns, builder);
    builder.StopAt("<|im_end|>");
  }
}

/// "<|user|>\n…" EOS "\n": the role's marker is a token where the vocabulary has it, else text.
void RenderZephyr(const Messages messages, const Turns& turns, Builder& builder) {
  const Vocabulary& vocabulary = builder.vocabulary();
  builder.BosIfModelHasIt();
  std::string gap;  // the line break after the EOS before, encoded with what follows
  auto head = [&](const std::string& role) {
    const std::string marker = "<|" + role + "|>";
    const int32_t id = FindControl(vocabulary, marker);
    if (id < 0) return std::exchange(gap, "\n") + marker + "\n";
    if (!gap.empty()) builder.Text(gap);
    builder.Id(id);
    gap = "\n";
    return std::string("\n");
  };
  for (size_t i = 0; i < messages.size(); ++i) {
    const bool assistant = messages[i].role == "assistant";
    const std::string before = head(messages[i].role);
    if (assistant) {
      builder.Answer(before, messages[i].content);
    } else {
      builder.Text(before + messages[i].content);
    }
    if (turns.open && i + 1 == messages.size()) return;
    builder.Eos(assistant);
  }
  if (turns.AwaitsAnswer()) {
    builder.Text(head("assistant"));
  } else {
    builder.Text(gap);
  }
  for (const char* role : {"<|user|>", "<|system|>"}) builder.StopAt(FindControl(vocabulary, role));
}

/// No markers: texts that follow one another are separated by line breaks, answers end with EOS.
void RenderRaw(const Messages messages, const Turns& turns, Builder& builder) {
  builder.BosIfModelHasIt();
  std::string prompt;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role != "assistant") {
      prompt += (prompt.empty() ? "" : "\n") + messages[i].content;
      continue;
    }
    builder.Text(std::exchange(prompt, ""));
    builder.Text(messages[i].content, true);
    if (!turns.open || i + 1 < messages.size()) builder.Eos(true);
  }
  builder.Text(prompt);
}

bool Has(std::string_view text, std::string_view mark) {
  return text.find(mark) != std::string_view::npos;
}

}  // namespace

std::string_view ChatFormatName(ChatFormat format) {
  const auto found = std::find_if(kNames.begin(), kNames.end(),
                                  [format](const auto& entry) { return entry.first == format; });
  return found == kNames.end() ? "raw" : found->second;
}

std::optional<ChatFormat> ChatFormatFromName(std::string_view name) {
  const auto found = std::find_if(kNames.begin(), kNames.end(),
                                  [name](const auto& entry) { return entry.second == name; });
  if (found == kNames.end()) return std::nullopt;
  return found->first;
}

ChatFormat RecogniseChatFormat(std::string_view jinja_template) {
  if (Has(jinja_template, "<|im_start|>")) return ChatFormat::kChatMl;
  if (Has(jinja_template, "[INST]")) {
    return Has(jinja_template, "<<SYS>>") ? ChatFormat::kLlama2 : ChatFormat::kMistralV1;
  }
  if (Has(jinja_template, "<|user|>") && Has(jinja_template, "<|assistant|>")) {
    return ChatFormat::kZephyr;
  }
  return ChatFormat::kRaw;
}

ChatFormat RecogniseChatFormat(const Vocabulary& vocabulary) {
  const ChatFormat format = RecogniseChatFormat(vocabulary.chat_template);
  const bool marked = FindControl(vocabulary, "[INST]") >= 0;
  return format == ChatFormat::kMistralV1 && marked ? ChatFormat::kMistralV3 : format;
}

ChatFormat DefaultChatFormat(const Vocabulary& vocabulary) {
  const bool marked =
      FindControl(vocabulary, "[INST]") >= 0 && FindControl(vocabulary, "[/INST]") >= 0;
  return marked ? ChatFormat::kMistralV3 : ChatFormat::kMistralV1;
}

Result<RenderedChat> RenderChat(ChatFormat format, Messages messages, const Tokenizer& tokenizer,
                                ChatOptions options) {
  OCTET_ASSIGN(const Turns turns, Split(messages, options));
  Builder builder(tokenizer);
  switch (format) {
    case ChatFormat::kMistralV1:
      OCTET_TRY(CheckAlternation(format, turns));
      RenderMistralV1(turns, builder);
      break;
    case ChatFormat::kMistralV3:
      OCTET_TRY(CheckAlternation(format, turns));
      OCTET_TRY(RenderMistralV3(turns, builder));
      break;
    case ChatFormat::kLlama2:
      OCTET_TRY(CheckAlternation(format, turns));
      RenderLlama2(turns, builder);
      break;
    case ChatFormat::kChatMl:
      RenderChatMl(messages, turns, builder);
      break;
    case ChatFormat::kZephyr:
      RenderZephyr(messages, turns, builder);
      break;
    case ChatFormat::kRaw:
      RenderRaw(messages, turns, builder);
      break;
  }
  for (const int32_t id : tokenizer.vocabulary().extra_eos) builder.StopAt(id);
  return builder.Take();
}

}  // namespace octet
