// octet run: continues a prompt.
#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "command.h"
#include "generate_flags.h"
#include "terminal.h"

namespace octet::app {
namespace {

struct RunFlags : GenerateFlags {
  std::optional<std::string> prompt;
  std::string file;
  std::string system;
  std::string chat_format;
  bool chat = false;
  bool no_bos = false;
  bool echo = false;
  bool json = false;
  bool quiet = false;
};

Result<std::string> ReadAll(std::istream& in, const std::string& name) {
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (in.bad()) return Err(ErrorCode::kIo, "cannot read {}", name);
  // An editor's or echo's last newline is not part of the prompt.
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

/// From the argument, the file, or standard input.
Result<std::string> ReadPrompt(const RunFlags& flags) {
  if (flags.prompt) return *flags.prompt;
  if (!flags.file.empty() && flags.file != "-") {
    std::ifstream in(flags.file, std::ios::binary);
    if (!in) return Err(ErrorCode::kNotFound, "cannot open the prompt file {}", flags.file);
    return ReadAll(in, flags.file);
  }
  if (StdinIsTerminal() && flags.file != "-") {
    return Err(ErrorCode::kInvalidArgument,
               "no prompt: give it as an argument, with -f FILE, or on standard input; "
               "`octet chat` holds a conversation");
  }
  return ReadAll(std::cin, "standard input");
}

double PerSecond(double n, double seconds) { return seconds > 0 ? n / seconds : 0; }

/// Tokens after the first a second: the first one is the prompt's work.
double DecodeRate(const GenerateResult& r) {
  return PerSecond(static_cast<double>(r.completion_tokens() - 1), r.decode_s);
}

double PromptRate(const GenerateResult& r) {
  return PerSecond(static_cast<double>(r.prompt_tokens - r.cached_tokens), r.prompt_s);
}

void PrintFigures(const ModelInfo& info, const GenerateResult& r, uint64_t seed) {
  fmt::print(stderr, "{}: loaded in {:.2f} s, {} threads, seed {}\n", info.name, info.load_s,
             info.threads, seed);
  fmt::print(stderr, "prompt {} tokens in {:.2f} s ({:.1f} tok/s), answer {} tokens in {:.2f} s",
             r.prompt_tokens, r.prompt_s, PromptRate(r), r.completion_tokens(), r.decode_s);
  if (r.completion_tokens() > 1) fmt::print(stderr, " ({:.1f} tok/s)", DecodeRate(r));
  fmt::print(stderr, ", ended by {}\n", FinishReasonName(r.finish));
  if (r.drafted_tokens > 0) {
    fmt::print(stderr, "guessed {} tokens, {} right: {} steps instead of {}\n", r.drafted_tokens,
               r.accepted_tokens, r.steps, r.completion_tokens());
  }
}

nlohmann::ordered_json LogProbsJson(const GenerateResult& r) {
  auto rows = nlohmann::ordered_json::array();
  for (size_t i = 0; i < r.logprobs.size(); ++i) {
    auto top = nlohmann::ordered_json::array();
    for (const TokenLogProb& t : r.logprobs[i].top) {
      top.push_back({{"id", t.id}, {"logprob", t.logprob}});
    }
    rows.push_back({{"id", r.ids[i]}, {"logprob", r.logprobs[i].logprob}, {"top", top}});
  }
  return rows;
}

Status PrintJson(const ModelInfo& info, const GenerateResult& r, uint64_t seed) {
  nlohmann::ordered_json json = {
      {"model", info.name},
      {"text", r.text},
      {"ids", r.ids},
      {"finish_reason", FinishReasonName(r.finish)},
      {"seed", seed},
      {"prompt_tokens", r.prompt_tokens},
      {"completion_tokens", r.completion_tokens()},
      {"load_s", info.load_s},
      {"prompt_s", r.prompt_s},
      {"decode_s", r.decode_s},
      {"prompt_tokens_per_s", PromptRate(r)},
      {"decode_tokens_per_s", DecodeRate(r)},
  };
  json["speculation"] = {{"steps", r.steps},
                         {"drafted", r.drafted_tokens},
                         {"accepted", r.accepted_tokens},
                         {"steps_saved", r.completion_tokens() - r.steps}};
  if (!r.logprobs.empty()) json["logprobs"] = LogProbsJson(r);
  return WriteOut(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

Result<GenerateResult> Answer(LanguageModel& model, const RunFlags& flags,
                              const std::string& prompt, const PieceCallback& callback) {
  if (!flags.chat) {
    OCTET_ASSIGN(const std::vector<int32_t> ids, model.Tokenize(prompt, !flags.no_bos));
    return model.Generate(ids, flags.generate, callback);
  }
  std::vector<ChatMessage> messages;
  if (!flags.system.empty()) messages.push_back({"system", flags.system});
  messages.push_back({"user", prompt});
  return model.Chat(messages, flags.generate, callback, flags.chat_format);
}

Status Run(RunFlags& flags) {
  OCTET_TRY(FinishFlags(flags));
  flags.chat = flags.chat || !flags.system.empty() || !flags.chat_format.empty();
  OCTET_ASSIGN(const std::string prompt, ReadPrompt(flags));
  OCTET_ASSIGN(LanguageModel model, LoadWithProgress(flags.load));
  WarnOfModel(model.info());
  const uint64_t seed = flags.generate.sampling.seed;

  InterruptFlag interrupt;
  Status written;
  const bool stream = !flags.json;
  if (stream && flags.echo) OCTET_TRY(WriteOut(prompt));
  auto result = Answer(model, flags, prompt, [&](std::string_view piece) {
    if (stream && !piece.empty()) written = WriteOut(piece);
    return written && !interrupt.raised();
  });
  if (!result) return tl::unexpected(std::move(result).error());
  OCTET_TRY(std::move(written));
  if (flags.json) OCTET_TRY(PrintJson(model.info(), *result, seed));
  const bool ends_line = result->text.ends_with('\n');
  if (stream && !ends_line) OCTET_TRY(WriteOut("\n"));
  if (!flags.quiet) PrintFigures(model.info(), *result, seed);
  if (result->finish == FinishReason::kCancelled) {
    return Err(ErrorCode::kCancelled, "stopped by Ctrl-C");
  }
  return {};
}

}  // namespace

void Add_run(CLI::App& app) {
  CLI::App* command = app.add_subcommand("run", "Continue a prompt, or answer it with --chat");
  auto flags = std::make_shared<RunFlags>();
  command->add_option("-p,--prompt,PROMPT", flags->prompt,
                      "The text to continue; else -f or standard input");
  command->add_option("-f,--file", flags->file, "Read the prompt from a file, - for standard input")
      ->excludes("PROMPT");
  AddLoadFlags(*command, flags->load);
  AddGenerateFlags(*command, *flags);
  command->add_flag("--chat", flags->chat, "The prompt is a message: apply the chat format");
  command->add_option("--system", flags->system, "System message, implies --chat");
  command->add_option("--template", flags->chat_format,
                      "Chat format instead of the model's own: mistral-v1, mistral-v3, "
                      "llama2, chatml, zephyr, raw; implies --chat");
  command->add_flag("--no-bos", flags->no_bos, "No begin token before the prompt");
  command->add_flag("--echo", flags->echo, "Print the prompt before its continuation");
  command->add_flag("--json", flags->json, "Print one JSON object at the end instead of the text");
  command->add_option("--logprobs", flags->generate.top_logprobs,
                      "With --json: log-probabilities of the chosen and the N likeliest tokens");
  command->add_flag("-q,--quiet", flags->quiet, "No figures on standard error");
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
