#include "generate_flags.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <random>

#include "command.h"
#include "octet/progress.h"

namespace octet::app {
namespace {

Result<std::pair<int32_t, float>> ParseBias(const std::string& text) {
  const size_t equals = text.find('=');
  int32_t id = -1;
  float value = 0;
  if (equals != std::string::npos) {
    const char* begin = text.data();
    const char* end = begin + text.size();
    const auto [id_end, id_error] = std::from_chars(begin, begin + equals, id);
    const auto [value_end, value_error] = std::from_chars(begin + equals + 1, end, value);
    if (id_error == std::errc() && value_error == std::errc() && id_end == begin + equals &&
        value_end == end) {
      return std::pair{id, value};
    }
  }
  return Err(ErrorCode::kInvalidArgument,
             "--logit-bias \"{}\": expected ID=VALUE, as in 42=-5 or 42=-inf", text);
}

void AddTruncationFlags(CLI::App& command, SamplingOptions& s) {
  const std::string group = "Sampling";
  command.add_option("--temp", s.temperature, "Temperature; 0 takes the likeliest token")
      ->group(group);
  command.add_option("--top-k", s.top_k, "Keep the K likeliest tokens; 0: all")->group(group);
  command.add_option("--top-p", s.top_p, "Keep the likeliest that sum to P; 1: all")->group(group);
  command.add_option("--min-p", s.min_p, "Keep those P times as likely as the likeliest; 0: all")
      ->group(group);
  command.add_option("--typical", s.typical_p, "Locally typical sampling of mass P; 1: off")
      ->group(group);
  command.add_flag("--temp-first", s.temperature_first,
                   "Temperature before top-k … min-p, as Hugging Face does, instead of after");
  command.get_option("--temp-first")->group(group);
  command
      .add_option("--mirostat", s.mirostat_tau,
                  "Mirostat v2 with this target surprise in bits, in place of top-k … min-p; 0: "
                  "off")
      ->group(group);
  command.add_option("--mirostat-eta", s.mirostat_eta, "Mirostat's learning rate")->group(group);
  command.add_flag("--ignore-eos", s.ignore_eos, "Never end by the end token")->group(group);
}

void AddPenaltyFlags(CLI::App& command, GenerateFlags& flags) {
  SamplingOptions& s = flags.generate.sampling;
  const std::string group = "Penalties";
  command.add_option("--repeat-penalty", s.repeat_penalty, "Of tokens said before; 1: off")
      ->group(group);
  command.add_option("--presence-penalty", s.presence_penalty, "Once for a token said before")
      ->group(group);
  command.add_option("--frequency-penalty", s.frequency_penalty, "For every time it was said")
      ->group(group);
  command.add_option("--repeat-last-n", s.penalty_last_n, "Tokens looked back; -1: all")
      ->group(group);
  command.add_option("--dry-multiplier", s.dry_multiplier, "Against repeated phrases; 0: off")
      ->group(group);
  command.add_option("--dry-base", s.dry_base, "Growth of DRY with a phrase's length")
      ->group(group);
  command.add_option("--dry-allowed-length", s.dry_allowed_length, "Tokens that may repeat")
      ->group(group);
  command.add_option("--dry-last-n", s.dry_last_n, "Tokens DRY looks back; -1: all")->group(group);
  command
      .add_option("--dry-breaker", s.dry_sequence_breakers,
                  "Text no phrase reaches across, repeatable; replaces the default \\n : \" *")
      ->group(group);
  command.add_option("--logit-bias", flags.logit_bias, "ID=VALUE added to a logit, repeatable")
      ->group(group);
}

void AddConstraintFlags(CLI::App& command, GenerateFlags& flags) {
  const std::string group = "What the answer must be";
  CLI::Option* grammar =
      command.add_option("--grammar", flags.grammar, "A file with a grammar (GBNF)")->group(group);
  CLI::Option* schema =
      command.add_option("--json-schema", flags.json_schema, "A file with a JSON schema")
          ->group(group);
  CLI::Option* object =
      command.add_flag("--json-object", flags.json_object, "Any JSON object")->group(group);
  grammar->excludes(schema)->excludes(object);
  schema->excludes(object);
}

Result<std::string> ReadWhole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Err(ErrorCode::kNotFound, "cannot open {}", path);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (in.bad()) return Err(ErrorCode::kIo, "cannot read {}", path);
  return text;
}

Status ReadConstraint(const GenerateFlags& flags, Constraint& constraint) {
  if (flags.json_object) constraint.kind = Constraint::Kind::kJson;
  if (!flags.grammar.empty()) {
    OCTET_ASSIGN(constraint.text, ReadWhole(flags.grammar));
    constraint.kind = Constraint::Kind::kGrammar;
  }
  if (!flags.json_schema.empty()) {
    OCTET_ASSIGN(constraint.text, ReadWhole(flags.json_schema));
    constraint.kind = Constraint::Kind::kJsonSchema;
  }
  return {};
}

}  // namespace

void AddLoadFlags(CLI::App& command, LoadOptions& load) {
  command
      .add_option("-m,--model", load.model,
                  "Folder or GGUF file; without it the model inside the program")
      ->envname(kModelVariable);
  command
      .add_option("--lora", load.adapter,
                  "Adapters beside the weights: a PEFT or Mistral folder, and how much of them")
      ->type_name("FOLDER[:SCALE]");
  command.add_option("-t,--threads", load.threads, "Threads; 0: one a physical core");
  command.add_option("-c,--ctx", load.context,
                     "Tokens of prompt and answer together; 0: the model's, at most 8192");
  command.add_option("--kv-type", load.kv_type, "Type of keys and values: f16, f32, bf16, q8_0");
  command.add_option("--arithmetic", load.arithmetic, "fast, or float32 for exact products");
  command.add_flag("!--no-pack", load.pack,
                   "Use the weights where the file is mapped: starts at once, runs slower");
  command.add_option("--batch", load.max_batch_tokens, "Prompt tokens computed at a time");
  const std::string group = "Guessing ahead (the same text, sooner)";
  command
      .add_option("--speculate", load.speculate,
                  "lookup: repeat what followed these words before; draft: ask --draft; off")
      ->group(group);
  command
      .add_option("--draft", load.draft_model,
                  "A smaller model with the same vocabulary: folder or GGUF file")
      ->group(group);
  command.add_option("--draft-max", load.max_draft, "Tokens guessed at a time, at most (16)")
      ->group(group);
}

Result<LanguageModel> LoadWithProgress(LoadOptions load) {
  std::unique_ptr<Progress> bar;
  load.on_pack = [&bar](int64_t done, int64_t total) {
    constexpr int64_t kWorthABar = int64_t{256} << 20;
    if (total < kWorthABar) return;
    if (!bar)
      bar = std::make_unique<Progress>("packing", static_cast<uint64_t>(total),
                                       Progress::Unit::kBytes);
    bar->Update(static_cast<uint64_t>(done));
    if (done == total) bar->Finish();
  };
  return LanguageModel::Load(load);
}

void AddGenerateFlags(CLI::App& command, GenerateFlags& flags) {
  command.add_option("-n,--max-tokens", flags.generate.max_tokens, "Tokens to generate at most");
  command.add_option("--seed", flags.seed, "Same seed, same text; random when not given");
  command.add_option("--stop", flags.generate.stop, "End before this text, repeatable")
      ->allow_extra_args(false);
  AddTruncationFlags(command, flags.generate.sampling);
  AddPenaltyFlags(command, flags);
  AddConstraintFlags(command, flags);
}

Status FinishFlags(GenerateFlags& flags) {
  // 32 bits are easy to type again.
  flags.generate.sampling.seed = flags.seed ? *flags.seed : std::random_device{}();
  for (const std::string& text : flags.logit_bias) {
    OCTET_ASSIGN(const auto bias, ParseBias(text));
    flags.generate.sampling.logit_bias.push_back(bias);
  }
  return ReadConstraint(flags, flags.generate.constraint);
}

void Warn(std::string_view message) { fmt::print(stderr, "octet: warning: {}\n", message); }

void WarnOfModel(const ModelInfo& info) {
  if (info.context > info.trained_context) {
    Warn(fmt::format("{} was trained for {} tokens, with --ctx {} the text may get worse past them",
                     info.name, info.trained_context, info.context));
  }
}

}  // namespace octet::app
