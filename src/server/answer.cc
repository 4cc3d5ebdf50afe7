#include "server/answer.h"

#include <algorithm>
#include <numeric>

namespace octet {

int64_t Answer::PromptTokens() const {
  return std::accumulate(prompt_tokens.begin(), prompt_tokens.end(), int64_t{0});
}

int64_t Answer::CachedTokens() const {
  // Of several answers to one prompt all but one find it computed, by that one.
  std::vector<int64_t> cached = prompt_tokens;
  for (const Choice& choice : choices) {
    int64_t& least = cached[static_cast<size_t>(choice.prompt)];
    least = std::min(least, choice.cached_tokens);
  }
  return std::accumulate(cached.begin(), cached.end(), int64_t{0});
}

int64_t Answer::CompletionTokens() const {
  return std::accumulate(choices.begin(), choices.end(), int64_t{0},
                         [](int64_t sum, const Choice& c) { return sum + c.tokens; });
}

void AppendEvent(const nlohmann::ordered_json& data, std::string& out, const char* event) {
  if (event != nullptr) out.append("event: ").append(event).append("\n");
  out.append("data: ").append(Dump(data)).append("\n\n");
}

void AppendJsonText(std::string_view text, std::string& out) {
  const bool plain = std::ranges::all_of(
      text, [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
  if (!plain) {
    out += Dump(nlohmann::ordered_json(text));
    return;
  }
  out += '"';
  out += text;
  out += '"';
}

nlohmann::ordered_json UsageJson(const Answer& answer) {
  const int64_t prompt = answer.PromptTokens(), completion = answer.CompletionTokens();
  return {{"prompt_tokens", prompt},
          {"completion_tokens", completion},
          {"total_tokens", prompt + completion},
          {"prompt_tokens_details", {{"cached_tokens", answer.CachedTokens()}}}};
}

std::string TokenText(const Tokenizer& tokenizer, int32_t id) {
  const auto& tokens = tokenizer.vocabulary().tokens;
  if (id < 0 || static_cast<size_t>(id) >= tokens.size()) return {};
  const Vocabulary::Token& token = tokens[static_cast<size_t>(id)];
  if (token.kind == TokenKind::kControl) return token.piece;
  return std::string(tokenizer.TokenBytes(id));
}

std::string TextOf(const Tokenizer& tokenizer, std::span<const int32_t> ids) {
  std::string text;
  for (const int32_t id : ids) text += TokenText(tokenizer, id);
  return text;
}

}  // namespace octet
