#include "train_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <optional>

#include "config_file.h"
#include "octet/progress.h"
#include "stop_signal.h"

namespace octet::app {
namespace {

constexpr char kShapeGroup[] = "Shape of a new model";

/// One line: where the run is, what it costs, how long it still takes.
class Reporter {
 public:
  Reporter(int64_t log_every, bool quiet)
      : log_every_(log_every), quiet_(quiet), terminal_(isatty(STDERR_FILENO) != 0) {}

  void Show(const TrainUpdate& u) {
    // A smooth rate, so that the time left does not jump with every batch.
    rate_ = rate_ == 0 ? u.tokens_per_s : 0.95 * rate_ + 0.05 * u.tokens_per_s;
    if (!u.held_out.empty()) ShowHeldOut(u);
    if (!quiet_) ShowSamples(u);
    if (u.warning != warned_) ShowWarning(u);
    if (quiet_) return;
    const bool line = u.step == u.steps || log_every_ <= 1 || u.step % log_every_ == 0;
    if (!line && !terminal_) return;
    const double a_step = u.seconds / static_cast<double>(u.step);
    std::string text = fmt::format(
        "step {}/{}  loss {:.4f}  rate {:.2e}  norm {:.2f}  {:.0f} tok/s ({:.0f} % of peak)  left "
        "{}",
        u.step, u.steps, u.loss, u.rate, u.grad_norm, rate_,
        100 * u.peak_share * rate_ / u.tokens_per_s,
        HumanSeconds(a_step * static_cast<double>(u.steps - u.step)));
    if (!u.load.empty()) text += fmt::format("  balance {:.3f}", u.balance);
    if (u.dropped > 0) text += fmt::format("  dropped {:.1f} %", 100 * u.dropped);
    if (u.accuracy > 0) text += fmt::format("  preferred {:.0f} %", 100 * u.accuracy);
    if (u.skipped) text += "  skipped: a gradient was not finite";
    fmt::print(stderr, "{}{}{}", terminal_ ? "\r\x1b[K" : "", text, line || !terminal_ ? "\n" : "");
    std::fflush(stderr);
  }

 private:
  void ShowWarning(const TrainUpdate& u) {
    if (warned_.empty()) {
      fmt::print(stderr, "{}warning: step {}: {}\n", terminal_ ? "\r\x1b[K" : "", u.step,
                 u.warning);
    }
    warned_ = u.warning;
  }
  void ShowHeldOut(const TrainUpdate& u) const {
    std::string text = fmt::format("step {}: held out", u.step);
    for (const HeldOutLoss& loss : u.held_out) {
      text += fmt::format("  {} {:.4f}", loss.source, loss.loss);
      if (loss.bits_per_byte > 0) text += fmt::format(" ({:.3f} bits/byte)", loss.bits_per_byte);
      if (loss.accuracy > 0) text += fmt::format(" ({:.0f} % preferred)", 100 * loss.accuracy);
    }
    if (!quiet_) fmt::print(stderr, "{}{}\n", terminal_ ? "\r\x1b[K" : "", text);
  }
  void ShowSamples(const TrainUpdate& u) const {
    for (const TrainSample& sample : u.samples) {
      fmt::print(stderr, "{}step {}: {} | {}\n", terminal_ ? "\r\x1b[K" : "", u.step, sample.prompt,
                 sample.text);
    }
  }
  int64_t log_every_;
  bool quiet_, terminal_;
  double rate_ = 0;
  std::string warned_;  // what was wrong at the last update
};

/// What begins: the model, and what there is to learn from.
void ShowStart(const TrainStart& start, int64_t steps) {
  const auto millions = [](int64_t n) { return static_cast<double>(n) / 1e6; };
  std::string text = fmt::format("{:.2f} M parameters, {:.2f} M active", millions(start.parameters),
                                 millions(start.active_parameters));
  if (start.trained_parameters != start.parameters)
    text += fmt::format(", {:.3f} M trained", millions(start.trained_parameters));
  text += fmt::format("; {}", start.precision);
  if (start.first_step >= steps) {
    text += fmt::format("; all {} updates are done, more --steps go on", steps);
  } else if (start.first_step > 0) {
    text += fmt::format("; on from update {} of {}", start.first_step, steps);
  }
  text += '\n';
  for (const TrainSource& source : start.sources) {
    text += source.name + ": ";
    if (source.documents > 0) {
      text +=
          fmt::format("{} documents of {} tokens to learn from", source.documents,
                      source.tokens < 1'000'000 ? fmt::format("{}", source.tokens)
                                                : fmt::format("{:.1f} M", millions(source.tokens)));
    }
    if (source.held_out > 0) {
      text +=
          fmt::format("{}{} documents held out", source.documents > 0 ? "; " : "", source.held_out);
    }
    if (source.cut > 0) text += fmt::format("; {} cut to the context", source.cut);
    if (source.without_target > 0)
      text += fmt::format("; {} without anything to learn in it", source.without_target);
    text += '\n';
  }
  fmt::print(stderr, "{}", text);
}

/// A model that there is has its shape.
void WarnOfShape(const CLI::App& command, const TrainOptions& options) {
  if (options.model.empty()) return;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_group() != kShapeGroup || option->count() == 0) continue;
    fmt::print(stderr, "warning: {} is for a new model; {} keeps its own shape\n",
               option->get_name(), options.model.string());
  }
}

}  // namespace

Status RunTrainCommand(CLI::App& command, TrainFlags& flags) {
  if (!flags.config.empty()) OCTET_TRY(ApplyConfigFile(command, flags.config));
  TrainOptions& options = flags.options;
  if (flags.needs_model && options.model.empty()) {
    return Err(ErrorCode::kInvalidArgument,
               "the model to begin from is missing: -m FOLDER, as octet train makes one");
  }
  WarnOfShape(command, options);
  options.stop = &StopOnSignal();
  Reporter reporter(flags.log_every, flags.quiet);
  std::optional<Progress> tokens;
  options.on_tokenise = [&](const std::string& source, int64_t done, int64_t total) {
    if (!tokens) {
      tokens.emplace(source + ": to tokens", static_cast<uint64_t>(total), Progress::Unit::kBytes,
                     !flags.quiet);
    }
    tokens->Update(static_cast<uint64_t>(done));
    if (done < total) return;
    tokens->Finish();
    tokens.reset();
  };
  std::optional<Progress> reference;
  options.on_reference = [&](int64_t done, int64_t total) {
    if (!reference) {
      reference.emplace("the reference model reads", static_cast<uint64_t>(total),
                        Progress::Unit::kCount, !flags.quiet);
    }
    reference->Update(static_cast<uint64_t>(done));
    if (done == total) reference->Finish();
  };
  if (!flags.quiet)
    options.on_start = [&](const TrainStart& start) { ShowStart(start, options.steps); };
  OCTET_ASSIGN(const TrainReport report,
               Train(options, [&](const TrainUpdate& update) { reporter.Show(update); }));
  fmt::print("{}\n", report.checkpoint.string());
  return {};
}

void AddShapeFlags(CLI::App& command, TrainOptions& o) {
  const char* group = kShapeGroup;
  command.add_option("--layers", o.shape.layers, "Layers of a new model")->group(group);
  command.add_option("--dim", o.shape.d_model, "Width of the residual stream")->group(group);
  command.add_option("--heads", o.shape.heads, "Attention heads")->group(group);
  command.add_option("--kv-heads", o.shape.kv_heads, "Key/value heads")->group(group);
  command.add_option("--head-dim", o.shape.head_dim, "Width of a head (default: dim / heads)")
      ->group(group);
  command.add_option("--ffn", o.shape.d_ff, "Inner width of one expert")->group(group);
  command.add_option("--experts", o.shape.experts, "Experts a layer; 0: a dense model")
      ->group(group);
  command.add_option("--top-k", o.shape.experts_per_token, "Experts a token goes to")->group(group);
  command.add_option("--rope-theta", o.shape.rope_theta, "Base of the rotary embedding")
      ->group(group);
  command.add_flag("--tied", o.shape.tied, "One matrix for embedding and head")->group(group);
}

void AddDataFlags(CLI::App& command, TrainOptions& o) {
  const char* group = "Data";
  command
      .add_option("--source", o.sources,
                  "Text, chats or preferences, and their share of the tokens; repeatable")
      ->type_name("NAME=PATH[,PATH...][@WEIGHT]")
      ->group(group);
  command.add_option("--held-out", o.held_out, "Documents at the end of each source never learned")
      ->group(group);
  command
      .add_option("--held-out-source", o.held_out_sources,
                  "Documents of which none is learned, to measure losses on; repeatable")
      ->type_name("NAME=PATH[,PATH...]")
      ->group(group);
  command.add_option("--chat-format", o.chat_format, "Format of chats (default: the tokenizer's)")
      ->group(group);
  command.add_option("--context", o.context, "Tokens of a sequence")->group(group);
  command.add_option("--batch-tokens", o.batch_tokens, "Tokens of a micro-batch")->group(group);
  command.add_option("--accumulate", o.accumulate, "Micro-batches an update")->group(group);
}

void AddAdapterFlags(CLI::App& command, TrainOptions& o) {
  const char* group = "Adapters";
  command
      .add_option("--lora-rank", o.lora_rank,
                  "Train adapters of this rank beside the frozen, even quantised, weights")
      ->group(group);
  command
      .add_option("--lora-alpha", o.lora_alpha,
                  "Their scale is alpha / rank (default: twice the rank)")
      ->group(group);
  command
      .add_option("--lora-targets", o.lora_targets,
                  "Matrices with one: q_proj, k_proj, v_proj, o_proj, w1, w2, w3, gate")
      ->delimiter(',')
      ->group(group);
  command
      .add_option("--lora-format", o.lora_format,
                  "Their files: peft (experts one by one), peft-fused (Transformers 5) or mistral")
      ->group(group);
}

void AddPreferenceFlags(CLI::App& command, TrainOptions& o) {
  const char* group = "Objective";
  command.add_option("--beta", o.beta, "Strength of a preference objective")->group(group);
  command.add_option("--label-smoothing", o.label_smoothing, "dpo: share of wrong labels")
      ->group(group);
  command.add_option("--gamma", o.gamma, "simpo: target margin")->group(group);
  command.add_option("--lambda", o.lambda, "orpo: weight of the odds ratio")->group(group);
  command.add_option("--desirable-weight", o.desirable_weight, "kto: weight of the chosen answers")
      ->group(group);
  command
      .add_option("--undesirable-weight", o.undesirable_weight, "kto: weight of the rejected ones")
      ->group(group);
}

void AddRouterFlags(CLI::App& command, TrainOptions& o) {
  const char* group = "Router";
  command.add_option("--balance", o.balance, "Coefficient of the load-balancing loss")
      ->group(group);
  command.add_flag("--balance-per-layer", o.balance_per_layer, "Balance each layer by itself")
      ->group(group);
  command
      .add_option("--balance-bias", o.balance_bias,
                  "Step of the biases that balance experts without a loss; 0: none")
      ->group(group);
  command
      .add_option(
          "--capacity-factor", o.capacity_factor,
          "An expert takes this times an even share of a batch, the rest is dropped; 0: all")
      ->group(group);
  command.add_option("--router-z", o.router_z, "Coefficient of the router's z-loss")->group(group);
  command.add_option("--router-rate", o.router_rate, "The router's learning rate, as a multiple")
      ->group(group);
  command
      .add_option("--router-guard", o.router_guard,
                  "When a router collapses or drifts: off, warn, stop or rollback")
      ->group(group);
}

void AddOptimiserFlags(CLI::App& command, TrainOptions& o) {
  const char* group = "Optimiser";
  command.add_option("--steps", o.steps, "Updates in the whole run")->group(group);
  command.add_option("--schedule", o.schedule, "constant, linear, cosine or wsd")->group(group);
  command.add_option("--rate", o.rate, "Peak learning rate")->group(group);
  command.add_option("--final-rate", o.final_rate, "Rate at the end, as a fraction of the peak")
      ->group(group);
  command.add_option("--warmup", o.warmup, "Updates to the peak")->group(group);
  command
      .add_option("--decay-steps", o.decay_steps,
                  "wsd: updates from the peak to the end; 0: a fifth of all")
      ->group(group);
  command.add_option("--optimizer", o.optimizer, "adamw, or muon for the matrices of layers")
      ->group(group);
  command.add_option("--momentum", o.momentum, "Muon: the momentum's decay")->group(group);
  command.add_option("--beta1", o.beta1, "AdamW: first moment's decay")->group(group);
  command.add_option("--beta2", o.beta2, "AdamW: second moment's decay")->group(group);
  command.add_option("--eps", o.eps, "AdamW: added to the root of the second moment")->group(group);
  command.add_option("--weight-decay", o.weight_decay, "AdamW: of matrices")->group(group);
  command.add_option("--clip", o.clip, "Largest norm of the gradient; 0: any")->group(group);
  command
      .add_option("--dropout", o.dropout,
                  "Share of what attention and experts add that an update leaves out; 0: none")
      ->group(group);
  command
      .add_option("--average", o.average,
                  "Decay of an average of the weights, kept as a model in \"average\"; 0: none")
      ->group(group);
}

void AddRunFlags(CLI::App& command, TrainFlags& flags) {
  TrainOptions& o = flags.options;
  command.option_defaults()->always_capture_default();  // of the options of all groups
  const char* group = "Run";
  command
      .add_option("--tokenizer", o.tokenizer, "tokenizer.model, or a folder (default: the model's)")
      ->group(group);
  command.add_option("--config", flags.config, "TOML file with any of these options")
      ->configurable(false)
      ->group(group);
  command.add_option("-o,--output", o.output, "Folder of the run")->group(group);
  command.add_flag("--resume", o.resume, "Go on from the newest checkpoint, bit for bit")
      ->group(group);
  command.add_option("--seed", o.seed, "Of initial weights and the order of documents")
      ->group(group);
  command
      .add_option("--save-every", o.save_every, "Updates between checkpoints; 0: at the end only")
      ->group(group);
  command.add_option("--keep", o.keep, "Checkpoints to keep")->group(group);
  command
      .add_option("--held-out-every", o.held_out_every, "Updates between held-out losses; 0: never")
      ->group(group);
  command
      .add_option("--sample-every", o.sample_every,
                  "Updates between samples of what the model writes; 0: never")
      ->group(group);
  command
      .add_option("--sample-prompt", o.sample_prompts,
                  "What it goes on from, or answers; repeatable")
      ->group(group);
  command.add_option("--sample-tokens", o.sample_tokens, "Length of a sample")->group(group);
  command
      .add_option("--precision", o.precision,
                  "f32, or bf16 with float sums (default: bf16 where the machine has AMX or "
                  "AVX512_BF16)")
      ->group(group);
  command.add_flag("--recompute", o.recompute, "Less memory, a third more work")->group(group);
  command.add_option("-t,--threads", o.threads, "Threads (default: one a core)")->group(group);
  command.add_option("--log-every", flags.log_every, "Updates between lines of progress")
      ->group(group);
  command.add_flag("-q,--quiet", flags.quiet, "No progress, only the checkpoint's name")
      ->group(group);
}

}  // namespace octet::app
