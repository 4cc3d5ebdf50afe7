// octet logits: raw logits of given token ids, with a trace of activations and routing.
#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <iterator>
#include <memory>

#include "command.h"
#include "octet/eval.h"

namespace octet::app {
namespace {

struct Flags {
  ComputeOptions compute;
  LogitsRequest request;
  std::string tokens;
  std::string tokens_file;
};

/// Integers separated by commas, blanks or newlines, in brackets or not.
Result<std::vector<int32_t>> ParseTokens(std::string_view text, const std::string& where) {
  std::vector<int32_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    if (std::string_view(", \t\r\n[]").find(*at) != std::string_view::npos) {
      ++at;
      continue;
    }
    int32_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc()) {
      return Err(ErrorCode::kInvalidArgument,
                 "{}: \"{}\" is not a token id; expected integers separated by commas or blanks",
                 where, std::string_view(at, std::min<size_t>(20, static_cast<size_t>(end - at))));
    }
    ids.push_back(id);
    at = next;
  }
  return ids;
}

Status Run(const Flags& flags) {
  LogitsRequest request = flags.request;
  if (!flags.tokens_file.empty()) {
    std::ifstream file(flags.tokens_file, std::ios::binary);
    if (!file)
      return Err(ErrorCode::kNotFound, "{}: cannot open the token file", flags.tokens_file);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    OCTET_ASSIGN(request.tokens, ParseTokens(text, flags.tokens_file));
  } else {
    OCTET_ASSIGN(request.tokens, ParseTokens(flags.tokens, "--tokens"));
  }
  OCTET_ASSIGN(const LogitsReport report, WriteLogits(flags.compute, request));
  for (const std::string& file : report.files) fmt::print("{}\n", file);
  fmt::print(stderr, "logits [{}, {}] in {:.2f} s\n", report.tokens, report.vocab, report.seconds);
  return {};
}

}  // namespace

void Add_logits(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "logits", "Write the logits of given tokens as a NumPy array, with a trace if wanted");
  command
      ->add_option("-m,--model", flags->compute.model,
                   "Model folder or GGUF file (default: the embedded model)")
      ->envname(kModelVariable);
  auto* tokens = command->add_option("--tokens", flags->tokens, "Token ids: 1,733,16289");
  auto* file = command->add_option("--tokens-file", flags->tokens_file, "File with token ids");
  tokens->excludes(file);
  command->add_option("-o,--out", flags->request.out, "Where the float32 [T, vocab] .npy goes")
      ->required();
  command->add_option("--trace", flags->request.trace,
                      "Folder for activations, router logits and chosen experts, a .npy each");
  command
      ->add_option("--arithmetic", flags->compute.arithmetic,
                   "float32 (default): weights decoded, everything in float; fast: as octet run "
                   "computes (default for a packed file)")
      ->check(CLI::IsMember({"float32", "fast"}));
  command->add_option(
      "--kv-type", flags->compute.kv_type,
      "Keys and values: f32, f16, bf16 or q8_0 (default: f32 with float32, else f16)");
  command->add_option("-t,--threads", flags->compute.threads,
                      "Threads (default: the cores this process may use)");
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
