// octet tokenize: text, or a conversation, as token ids.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "command.h"
#include "octet/tokenizer.h"
#include "token_input.h"

namespace octet::app {
namespace {

using nlohmann::ordered_json;

struct Flags {
  std::string model;
  std::optional<std::string> text;
  std::string file;
  std::string chat_file;
  std::string chat_format;
  bool continue_last = false;
  bool no_bos = false;
  bool ids_only = false;
  bool json = false;
};

/// A piece on one line, and legal JSON: what no terminal shows is written as \xNN.
std::string Visible(std::string_view piece) {
  std::string shown;
  for (const char c : piece) {
    const auto byte = static_cast<unsigned char>(c);
    shown += byte < 0x20 || byte == 0x7F ? fmt::format("\\x{:02X}", byte) : std::string(1, c);
  }
  return shown;
}

std::vector<std::string> PiecesOf(const ModelTokenizer& tokenizer,
                                  const std::vector<int32_t>& ids) {
  std::vector<std::string> pieces;
  for (const int32_t id : ids) {
    const auto token = tokenizer.Token(id);
    pieces.push_back(token ? token->piece : "");
  }
  return pieces;
}

/// [{"role": …, "content": …}, …], or an object with that under "messages".
Result<std::vector<ChatMessage>> ParseChat(std::string_view text, const std::string& where) {
  const auto root = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto* list = &root;
  if (root.is_object() && root.contains("messages")) list = &root["messages"];
  if (!list->is_array()) {
    return Err(ErrorCode::kInvalidArgument,
               "{}: expected JSON like [{{\"role\": \"user\", \"content\": \"Hello\"}}]", where);
  }
  std::vector<ChatMessage> messages;
  for (const auto& entry : *list) {
    const bool complete = entry.is_object() && entry.contains("role") &&
                          entry["role"].is_string() && entry.contains("content") &&
                          entry["content"].is_string();
    if (!complete) {
      return Err(ErrorCode::kInvalidArgument,
                 "{}: message {}: expected an object with the texts 'role' and 'content'", where,
                 messages.size());
    }
    messages.push_back({entry["role"], entry["content"]});
  }
  return messages;
}

void Print(const Flags& flags, const ModelTokenizer& tokenizer, const std::vector<int32_t>& ids,
           const ordered_json& more) {
  if (flags.ids_only && !flags.json) {
    fmt::print("{}\n", JoinIds(ids));
    return;
  }
  const std::vector<std::string> pieces = PiecesOf(tokenizer, ids);
  if (flags.json) {
    ordered_json out = {{"count", ids.size()}, {"ids", ids}};
    if (!flags.ids_only) out["pieces"] = pieces;
    out.update(more);
    fmt::print("{}\n", out.dump());
    return;
  }
  for (size_t i = 0; i < ids.size(); ++i) fmt::print("{:>6}  {}\n", ids[i], Visible(pieces[i]));
}

Status TokenizeChat(const Flags& flags, const ModelTokenizer& tokenizer) {
  OCTET_ASSIGN(const std::string text, ReadInput(flags.chat_file));
  const std::string where = flags.chat_file == "-" ? "standard input" : flags.chat_file;
  OCTET_ASSIGN(const auto messages, ParseChat(text, where));
  OCTET_ASSIGN(const ChatTokens chat,
               tokenizer.RenderChat(messages, flags.chat_format, flags.continue_last));
  Print(flags, tokenizer, chat.ids,
        {{"format", chat.format},
         {"is_assistant", chat.is_assistant},
         {"stop_strings", chat.stop_strings},
         {"stop_ids", chat.stop_ids}});
  return {};
}

Status Tokenize(const Flags& flags) {
  OCTET_ASSIGN(const ModelTokenizer tokenizer, ModelTokenizer::Load(flags.model));
  if (!flags.chat_file.empty()) return TokenizeChat(flags, tokenizer);
  std::string text;
  if (flags.text) {
    text = *flags.text;
  } else {
    OCTET_ASSIGN(text, ReadInput(flags.file.empty() ? "-" : flags.file));
  }
  const bool with_bos = tokenizer.adds_bos() && !flags.no_bos;
  Print(flags, tokenizer, tokenizer.Encode(text, with_bos), ordered_json::object());
  return {};
}

}  // namespace

void Add_tokenize(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("tokenize", "Show a text or a conversation as token ids");
  command
      ->add_option(
          "-m,--model", flags->model,
          "A model folder, a .gguf, a tokenizer.model or a tokenizer.json; without it, the "
          "model inside the program")
      ->envname(kModelVariable);
  auto* text = command->add_option("text", flags->text, "The text; without it, -f or stdin");
  auto* file =
      command->add_option("-f,--file", flags->file, "Read the text from a file (-: stdin)");
  auto* chat =
      command->add_option("--chat", flags->chat_file,
                          "Read a conversation instead: a JSON file of messages (-: stdin)");
  command->add_option("--template", flags->chat_format, "Chat format, instead of the model's own")
      ->check(CLI::IsMember(ModelTokenizer::ChatFormats()))
      ->needs(chat);
  command->add_flag("--continue-last", flags->continue_last, "Leave the last answer open")
      ->needs(chat);
  auto* no_bos = command->add_flag("--no-bos", flags->no_bos, "No BOS before a plain text");
  command->add_flag("--ids", flags->ids_only, "Only the ids, on one line");
  command->add_flag("--json", flags->json, "One JSON object");
  text->excludes(file, chat);
  file->excludes(chat);
  no_bos->excludes(chat);
  command->footer(
      "Every byte of the input counts, also a last line break.\n"
      "  octet tokenize -m mixtral.gguf \"Hello world\"\n"
      "  octet tokenize -m mixtral.gguf -f story.txt --ids | octet detokenize -m mixtral.gguf\n"
      "  octet tokenize -m mixtral.gguf --chat messages.json --template mistral-v1 --json\n");
  OnRun(command, [flags] { return Tokenize(*flags); });
}

}  // namespace octet::app
