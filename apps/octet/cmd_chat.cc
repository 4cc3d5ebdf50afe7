// octet chat: a conversation on the terminal, or a message a line from a pipe.
#include <fmt/format.h>

#include <cstdio>
#include <optional>

#include "chat_commands.h"
#include "command.h"
#include "generate_flags.h"
#include "line_reader.h"
#include "terminal.h"

namespace octet::app {
namespace {

struct ChatFlags : GenerateFlags {
  std::string system;
  std::string chat_format;
  bool no_history = false;
};

class Chat {
 public:
  Chat(LanguageModel& model, Conversation& conversation, GenerateOptions& options,
       LineReader& reader)
      : state_{model, conversation, options, {}}, reader_(reader) {}

  Status Loop() {
    std::string line;
    bool interrupted_before = false;
    while (true) {
      // From before the line on: the key may come in the moment between its end and the answer.
      std::optional<InterruptFlag> interrupt;
      if (reader_.interactive()) interrupt.emplace();
      const LineReader::Outcome outcome = reader_.Read(line);
      if (outcome == LineReader::Outcome::kEnd)
        return reader_.interactive() ? WriteOut("\n") : Status();
      if (outcome == LineReader::Outcome::kInterrupted) {
        // At an empty prompt the first says how to leave, the second leaves.
        const bool empty = line.find_first_not_of(" \t\n") == std::string::npos;
        if (empty && interrupted_before) return {};
        if (empty) OCTET_TRY(WriteOut("Ctrl-C again, Ctrl-D or /quit leaves.\n"));
        interrupted_before = empty;
        continue;
      }
      interrupted_before = false;
      if (!interrupt) interrupt.emplace();
      OCTET_ASSIGN(const bool go_on, Take(line, *interrupt));
      if (!go_on) return {};
    }
  }

 private:
  /// False when the conversation is over.
  Result<bool> Take(const std::string& line, const InterruptFlag& interrupt) {
    if (line.find_first_not_of(" \t\n") == std::string::npos) return true;
    Status status;
    if (line.front() == '/') {
      const auto step = RunChatCommand(line, state_);
      if (step && *step == ChatStep::kQuit) return false;
      if (!step) {
        status = tl::unexpected(step.error());
      } else if (*step == ChatStep::kRetry) {
        status = Answer(nullptr, interrupt);
      }
    } else {
      status = Answer(&line, interrupt);
    }
    if (status) return true;
    // A person can try again; a script should not go on as if nothing had happened.
    if (!reader_.interactive() || std::ferror(stdout) != 0) {
      return tl::unexpected(status.error());
    }
    fmt::print(stderr, "octet: {}\n", status.error().message);
    return true;
  }

  /// Says `message`, or answers the last one again.
  Status Answer(const std::string* message, const InterruptFlag& interrupt) {
    Status written;
    const auto print = [&](std::string_view piece) {
      if (!piece.empty()) written = WriteOut(piece);
      return written && !interrupt.raised();
    };
    auto result = message != nullptr ? state_.conversation.Say(*message, state_.options, print)
                                     : state_.conversation.Retry(state_.options, print);
    if (!result) return tl::unexpected(std::move(result).error());
    OCTET_TRY(std::move(written));
    const bool stopped = result->finish == FinishReason::kCancelled;
    OCTET_TRY(WriteOut(result->text.ends_with('\n') ? "" : "\n"));
    Remark(*result);
    Count(std::move(*result));
    if (stopped && !reader_.interactive()) {
      return Err(ErrorCode::kCancelled, "stopped by Ctrl-C");
    }
    return {};
  }

  void Remark(const GenerateResult& result) const {
    if (result.dropped_messages > 0) {
      Warn(fmt::format("the context of {} tokens is full: the oldest {} messages are forgotten",
                       state_.model.info().context, result.dropped_messages));
    }
    if (result.finish == FinishReason::kContext) {
      Warn(fmt::format("the answer ended because the context of {} tokens is full",
                       state_.model.info().context));
    } else if (result.finish == FinishReason::kLength && reader_.interactive()) {
      fmt::print(stderr, "(ended after {} tokens; /set max-tokens changes that)\n",
                 result.completion_tokens());
    } else if (result.finish == FinishReason::kCancelled && reader_.interactive()) {
      fmt::print(stderr, "(stopped)\n");
    }
  }

  void Count(GenerateResult result) {
    ChatTotals& totals = state_.totals;
    ++totals.turns;
    totals.tokens += result.completion_tokens();
    totals.decode_s += result.decode_s;
    result.text.clear();
    result.logprobs.clear();
    totals.last = std::move(result);
    // The next answer must not draw the same numbers at the same positions.
    ++state_.options.sampling.stream;
  }

  ChatState state_;
  LineReader& reader_;
};

void Greet(const ModelInfo& info, std::string_view format, uint64_t seed) {
  fmt::print(stderr, "{} ({:.1f}B parameters, {:.1f}B active), {} format, context {}, seed {}\n",
             info.name, static_cast<double>(info.parameters) * 1e-9,
             static_cast<double>(info.active_parameters) * 1e-9, format, info.context, seed);
  fmt::print(stderr, "/help lists commands, Ctrl-D leaves.\n");
}

Status RunChat(ChatFlags& flags) {
  OCTET_TRY(FinishFlags(flags));
  OCTET_ASSIGN(LanguageModel model, LoadWithProgress(flags.load));
  OCTET_ASSIGN(Conversation conversation, model.StartConversation(flags.chat_format));
  if (flags.chat_format.empty() && conversation.chat_format() == "raw") {
    Warn(
        fmt::format("{} has no chat template, it is a base model: messages are continued as plain "
                    "text; --template chooses a format",
                    model.info().name));
  }
  WarnOfModel(model.info());
  conversation.SetSystem(flags.system);
  LineReader reader(flags.no_history ? std::filesystem::path() : ChatHistoryFile());
  if (reader.interactive())
    Greet(model.info(), conversation.chat_format(), flags.generate.sampling.seed);
  return Chat(model, conversation, flags.generate, reader).Loop();
}

}  // namespace

void Add_chat(CLI::App& app) {
  CLI::App* command = app.add_subcommand("chat", "Hold a conversation");
  auto flags = std::make_shared<ChatFlags>();
  flags->generate.max_tokens = 1024;
  AddLoadFlags(*command, flags->load);
  AddGenerateFlags(*command, *flags);
  command->add_option("--system", flags->system, "System message");
  command->add_option("--template", flags->chat_format,
                      "Chat format instead of the model's own: mistral-v1, mistral-v3, llama2, "
                      "chatml, zephyr, raw");
  command->add_flag("--no-history", flags->no_history, "Keep no history of lines on disk");
  OnRun(command, [flags] { return RunChat(*flags); });
}

}  // namespace octet::app
