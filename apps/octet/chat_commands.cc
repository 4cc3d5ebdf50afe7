#include "chat_commands.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <variant>

#include "terminal.h"

namespace octet::app {
namespace {

using Argument = std::string_view;
using Handler = Result<ChatStep> (*)(Argument, ChatState&);

struct Command {
  std::string_view name;
  std::string_view argument;
  std::string_view help;
  Handler handler;
};

/// An option that /set changes.
struct Setting {
  std::string_view name;
  std::variant<float*, int32_t*, int64_t*, uint64_t*, bool*> value;
};

std::vector<Setting> Settings(GenerateOptions& o) {
  SamplingOptions& s = o.sampling;
  return {{"temp", &s.temperature},
          {"top-k", &s.top_k},
          {"top-p", &s.top_p},
          {"min-p", &s.min_p},
          {"typical", &s.typical_p},
          {"temp-first", &s.temperature_first},
          {"mirostat", &s.mirostat_tau},
          {"mirostat-eta", &s.mirostat_eta},
          {"repeat-penalty", &s.repeat_penalty},
          {"presence-penalty", &s.presence_penalty},
          {"frequency-penalty", &s.frequency_penalty},
          {"repeat-last-n", &s.penalty_last_n},
          {"dry-multiplier", &s.dry_multiplier},
          {"dry-base", &s.dry_base},
          {"dry-allowed-length", &s.dry_allowed_length},
          {"dry-last-n", &s.dry_last_n},
          {"ignore-eos", &s.ignore_eos},
          {"seed", &s.seed},
          {"max-tokens", &o.max_tokens}};
}

std::string Show(const Setting& setting) {
  return std::visit([](const auto* value) { return fmt::format("{}", *value); }, setting.value);
}

bool Parse(Argument text, bool& value) {
  value = text == "on" || text == "true" || text == "1";
  return value || text == "off" || text == "false" || text == "0";
}

template <class T>
bool Parse(Argument text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

Argument Trim(Argument text) {
  const size_t first = text.find_first_not_of(" \t\n");
  if (first == Argument::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

Result<ChatStep> Set(Argument argument, ChatState& state) {
  const size_t space = argument.find_first_of(" =");
  const Argument name = argument.substr(0, space);
  const Argument text = space == Argument::npos ? Argument() : Trim(argument.substr(space + 1));
  GenerateOptions changed = state.options;
  std::string all;
  for (const Setting& setting : Settings(changed)) {
    const std::string before = Show(setting);
    all += fmt::format("  {} {}\n", setting.name, before);
    if (setting.name != name) continue;
    if (!std::visit([&](auto* value) { return Parse(text, *value); }, setting.value)) {
      return Err(ErrorCode::kInvalidArgument, "/set {} \"{}\": expected a value, as in {}", name,
                 text, before);
    }
    OCTET_TRY(Validate(changed.sampling, static_cast<int32_t>(state.model.info().vocab_size)));
    state.options = changed;
    OCTET_TRY(WriteOut(fmt::format("{} is {}\n", name, Show(setting))));
    return ChatStep::kContinue;
  }
  if (!name.empty()) {
    return Err(ErrorCode::kInvalidArgument, "/set {}: there is no such setting; /set lists them",
               name);
  }
  OCTET_TRY(WriteOut(all));
  return ChatStep::kContinue;
}

Result<ChatStep> Clear(Argument, ChatState& state) {
  auto& messages = state.conversation.messages();
  const bool system = !messages.empty() && messages.front().role == "system";
  messages.resize(system ? 1 : 0);
  OCTET_TRY(WriteOut("The conversation is empty.\n"));
  return ChatStep::kContinue;
}

Result<ChatStep> System(Argument argument, ChatState& state) {
  state.conversation.SetSystem(argument);
  OCTET_TRY(WriteOut(argument.empty() ? "No system message.\n" : "The system message is set.\n"));
  return ChatStep::kContinue;
}

Result<ChatStep> Retry(Argument, ChatState&) { return ChatStep::kRetry; }
Result<ChatStep> Quit(Argument, ChatState&) { return ChatStep::kQuit; }

Result<ChatStep> Save(Argument path, ChatState& state) {
  if (path.empty()) return Err(ErrorCode::kInvalidArgument, "/save needs a file name");
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  for (const ChatMessage& m : state.conversation.messages()) {
    messages.push_back({{"role", m.role}, {"content", m.content}});
  }
  const nlohmann::ordered_json json = {{"messages", messages}};
  std::ofstream out(std::string(path), std::ios::binary);
  out << json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  out.close();
  if (!out) return Err(ErrorCode::kIo, "cannot write {}", path);
  OCTET_TRY(WriteOut(fmt::format("Saved {} messages to {}.\n", messages.size(), path)));
  return ChatStep::kContinue;
}

Result<std::vector<ChatMessage>> ReadMessages(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Err(ErrorCode::kNotFound, "cannot open {}", path);
  const auto json = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
  const bool wrapped = json.is_object() && json.contains("messages");
  const auto& list = wrapped ? json["messages"] : json;
  std::vector<ChatMessage> messages;
  bool good = list.is_array();
  for (size_t i = 0; good && i < list.size(); ++i) {
    const auto& m = list[i];
    good = m.is_object() && m.contains("role") && m["role"].is_string() && m.contains("content") &&
           m["content"].is_string();
    if (good) messages.push_back({m["role"], m["content"]});
  }
  if (good) return messages;
  return Err(ErrorCode::kCorrupt,
             "{} is not a conversation; expected {{\"messages\": [{{\"role\": …, \"content\": "
             "…}}, …]}}",
             path);
}

Result<ChatStep> Load(Argument path, ChatState& state) {
  if (path.empty()) return Err(ErrorCode::kInvalidArgument, "/load needs a file name");
  OCTET_ASSIGN(std::vector<ChatMessage> messages, ReadMessages(std::string(path)));
  std::swap(state.conversation.messages(), messages);
  // A conversation that the chat format cannot express is better refused now than at every turn.
  const auto tokens = state.conversation.Tokens();
  if (!tokens) {
    std::swap(state.conversation.messages(), messages);
    return tl::unexpected(tokens.error());
  }
  OCTET_TRY(WriteOut(fmt::format("Loaded {} messages, {} tokens.\n",
                                 state.conversation.messages().size(), *tokens)));
  return ChatStep::kContinue;
}

Result<ChatStep> Stats(Argument, ChatState& state) {
  const ModelInfo& info = state.model.info();
  const ChatTotals& t = state.totals;
  OCTET_ASSIGN(const int64_t used, state.conversation.Tokens());
  std::string text = fmt::format("{}, {} format, {} threads\n", info.name,
                                 state.conversation.chat_format(), info.threads);
  text += fmt::format("context {} of {} tokens in {} messages\n", used, info.context,
                      state.conversation.messages().size());
  if (t.turns > 0) {
    const auto rate = [](double n, double s) { return s > 0 ? n / s : 0.0; };
    text += fmt::format(
        "last turn: prompt {} tokens ({} kept from before) in {:.2f} s, answer {} tokens in "
        "{:.2f} s\n",
        t.last.prompt_tokens, t.last.cached_tokens, t.last.prompt_s, t.last.completion_tokens(),
        t.last.decode_s);
    if (t.last.drafted_tokens > 0) {
      text += fmt::format("guessed {} tokens, {} right: {} steps\n", t.last.drafted_tokens,
                          t.last.accepted_tokens, t.last.steps);
    }
    text += fmt::format("{} turns, {} tokens answered, {:.1f} tok/s\n", t.turns, t.tokens,
                        rate(static_cast<double>(t.tokens - t.turns), t.decode_s));
  }
  OCTET_TRY(WriteOut(text));
  return ChatStep::kContinue;
}

Result<ChatStep> Help(Argument, ChatState&);

constexpr std::array kCommands = {
    Command{"/help", "", "this list", Help},
    Command{"/clear", "", "forget the conversation, keep the system message", Clear},
    Command{"/system", "[TEXT]", "set the system message, or remove it", System},
    Command{"/retry", "", "answer the last message again", Retry},
    Command{"/save", "FILE", "write the conversation as JSON", Save},
    Command{"/load", "FILE", "continue a saved conversation", Load},
    Command{"/stats", "", "context used, speed", Stats},
    Command{"/set", "[NAME VALUE]", "change a sampling option, as in /set temp 0.7; list them",
            Set},
    Command{"/quit", "", "leave; so do Ctrl-D and Ctrl-C twice", Quit},
};

Result<ChatStep> Help(Argument, ChatState&) {
  std::string text;
  for (const Command& c : kCommands) {
    text += fmt::format("  {:<20} {}\n", fmt::format("{} {}", c.name, c.argument), c.help);
  }
  text +=
      "A line that ends in \\ goes on in the next. Ctrl-C stops an answer. A message that begins "
      "with a slash: put a space before it.\n";
  OCTET_TRY(WriteOut(text));
  return ChatStep::kContinue;
}

}  // namespace

Result<ChatStep> RunChatCommand(std::string_view line, ChatState& state) {
  const size_t space = line.find_first_of(" \t\n");
  const std::string_view name = line.substr(0, space);
  const Argument argument = space == Argument::npos ? Argument() : Trim(line.substr(space));
  for (const Command& command : kCommands) {
    if (command.name == name) return command.handler(argument, state);
  }
  return Err(ErrorCode::kInvalidArgument, "there is no command {}; /help lists them", name);
}

}  // namespace octet::app
