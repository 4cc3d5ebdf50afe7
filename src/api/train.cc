#include "octet/train.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numbers>
#include <system_error>
#include <utility>

#include "api/guard.h"
#include "api/peak_watch.h"
#include "api/train_curves.h"
#include "api/train_data.h"
#include "api/train_metrics.h"
#include "api/train_samples.h"
#include "base/file.h"
#include "cpu/isa.h"
#include "model/weights.h"
#include "ptq/model_metadata.h"
#include "text/chat_template.h"
#include "train/initial.h"
#include "train/trained_model.h"
#include "train/trainer.h"

namespace octet {
namespace {

namespace fs = std::filesystem;

Result<ScheduleKind> ParseSchedule(const std::string& name) {
  constexpr std::array<std::pair<const char*, ScheduleKind>, 4> kinds = {
      {{"constant", ScheduleKind::kConstant},
       {"linear", ScheduleKind::kLinear},
       {"cosine", ScheduleKind::kCosine},
       {"wsd", ScheduleKind::kWsd}}};
  for (const auto& [text, kind] : kinds) {
    if (name == text) return kind;
  }
  return Err(ErrorCode::kInvalidArgument,
             "schedule \"{}\" is not one of constant, linear, cosine, wsd", name);
}

Result<GuardAction> ParseGuard(const std::string& name) {
  if (name == "off") return GuardAction::kOff;
  if (name == "warn") return GuardAction::kWarn;
  if (name == "stop") return GuardAction::kStop;
  if (name == "rollback") return GuardAction::kRollBack;
  return Err(ErrorCode::kInvalidArgument,
             "router-guard \"{}\" is not one of off, warn, stop, rollback", name);
}

Result<Precision> ParsePrecision(const std::string& name, const KernelTable& kernels) {
  const bool tiles = (kernels.tile_product->isa & kIsaAmxBf16) != 0;
  if (name.empty()) return tiles ? Precision::kBf16 : Precision::kFloat32;
  if (name == "f32") return Precision::kFloat32;
  if (name != "bf16") {
    return Err(ErrorCode::kInvalidArgument, "precision \"{}\" is not one of f32, bf16", name);
  }
  if (!tiles) {
    return Err(ErrorCode::kInvalidArgument,
               "precision bf16 needs AMX bf16 tiles, which this machine (or OCTET_ISA) does not "
               "give; leave precision out, or choose f32");
  }
  return Precision::kBf16;
}

Result<AdapterFormat> ParseAdapterFormat(const std::string& name) {
  if (name == "peft") return AdapterFormat::kPeft;
  if (name == "peft-fused") return AdapterFormat::kPeftFused;
  if (name == "mistral") return AdapterFormat::kMistral;
  return Err(ErrorCode::kInvalidArgument,
             "lora-format \"{}\" is not one of peft, peft-fused, mistral", name);
}

Status CheckOptions(const TrainOptions& o) {
  struct Least {
    const char* name;
    double value, least;
  };
  for (const Least& l : {Least{"steps", static_cast<double>(o.steps), 1},
                         {"accumulate", static_cast<double>(o.accumulate), 1},
                         {"rate", o.rate, 0},
                         {"final-rate", o.final_rate, 0},
                         {"warmup", static_cast<double>(o.warmup), 0},
                         {"decay-steps", static_cast<double>(o.decay_steps), 0},
                         {"held-out", static_cast<double>(o.held_out), 0},
                         {"weight-decay", o.weight_decay, 0},
                         {"capacity-factor", o.capacity_factor, 0},
                         {"save-every", static_cast<double>(o.save_every), 0},
                         {"held-out-every", static_cast<double>(o.held_out_every), 0},
                         {"sample-every", static_cast<double>(o.sample_every), 0},
                         {"sample-tokens", static_cast<double>(o.sample_tokens), 1},
                         {"keep", static_cast<double>(o.keep), 1}}) {
    if (!(l.value >= l.least)) {
      return Err(ErrorCode::kInvalidArgument, "{} is {}, expected at least {}", l.name, l.value,
                 l.least);
    }
  }
  for (const double decay : {o.beta1, o.beta2, o.average, o.momentum}) {
    if (decay >= 0 && decay < 1) continue;
    return Err(ErrorCode::kInvalidArgument,
               "beta1 {}, beta2 {}, average {} and momentum {} must be at least 0 and below 1",
               o.beta1, o.beta2, o.average, o.momentum);
  }
  if (o.optimizer != "adamw" && o.optimizer != "muon") {
    return Err(ErrorCode::kInvalidArgument, "optimizer \"{}\" is not one of adamw, muon",
               o.optimizer);
  }
  if (o.optimizer == "muon" && o.lora_rank > 0) {
    return Err(ErrorCode::kInvalidArgument,
               "muon is for the matrices of a model; adapters are trained with adamw");
  }
  if (o.output.empty())
    return Err(ErrorCode::kInvalidArgument, "output is missing: the folder of the run");
  return {};
}

ModelConfig ConfigOf(const TrainOptions& o, int64_t vocab_size) {
  const TrainShape& s = o.shape;
  ModelConfig c;
  c.architecture = s.experts > 0 ? "mixtral" : "llama";
  c.n_layers = s.layers;
  c.d_model = s.d_model;
  c.n_heads = s.heads;
  c.n_kv_heads = s.kv_heads;
  c.head_dim = s.head_dim > 0 ? s.head_dim : s.d_model / std::max<int64_t>(s.heads, 1);
  c.d_ff = s.d_ff;
  c.n_experts = s.experts;
  c.n_experts_per_token = s.experts > 0 ? s.experts_per_token : 0;
  c.vocab_size = vocab_size;
  c.context_len = o.context;
  c.rope_theta = s.rope_theta;
  c.tied_embeddings = s.tied;
  c.rope_pairing = RopePairing::kHalves;
  return c;
}

Result<TrainedModel> BeginNew(const TrainOptions& options, const Tokenizer& tokenizer) {
  if (options.lora_rank > 0) {
    return Err(ErrorCode::kInvalidArgument,
               "adapters stand beside a model's weights; give the model to begin from");
  }
  ModelConfig config = ConfigOf(options, tokenizer.vocab_size());
  // The one check of shapes, through the words of the file that will hold them.
  Checkpoint checkpoint;
  checkpoint.kind = CheckpointKind::kHuggingFace;
  checkpoint.path = options.output;
  checkpoint.config = HfConfigOf(config, nullptr, "float32");
  checkpoint.tensors = std::make_unique<MappedTensors>();
  const auto checked = ReadModelConfig(checkpoint);
  if (!checked)
    return Err(ErrorCode::kInvalidArgument, "the shape of the model: {}", checked.error().message);
  ThreadPool pool(options.threads);
  OCTET_ASSIGN(Parameters weights, InitialWeights(config, options.seed, pool));
  if (options.balance_bias > 0) {
    OCTET_ASSIGN(weights, WithRouterBias(config, std::move(weights)));
  }
  return TrainWeights(config, std::move(weights));
}

Result<TrainedModel> BeginFrom(const TrainOptions& options, const Tokenizer& tokenizer) {
  OCTET_ASSIGN(Checkpoint checkpoint, OpenCheckpoint(options.model));
  OCTET_ASSIGN(std::unique_ptr<Model> model, Model::Load(std::move(checkpoint)));
  ModelConfig config = model->config();
  if (tokenizer.vocab_size() > config.vocab_size) {
    return Err(ErrorCode::kInvalidArgument,
               "the tokenizer has {} tokens, the model {}; give the tokenizer the model was made "
               "with",
               tokenizer.vocab_size(), config.vocab_size);
  }
  if (options.lora_rank > 0) {
    if (options.balance_bias > 0) {
      return Err(ErrorCode::kInvalidArgument,
                 "balance-bias changes the model's routers, which adapters leave as they are; use "
                 "balance");
    }
    const double alpha =
        options.lora_alpha > 0 ? options.lora_alpha : 2 * static_cast<double>(options.lora_rank);
    OCTET_ASSIGN(Adapters adapters,
                 Adapters::Create(config, {options.lora_rank, alpha, options.lora_targets}));
    adapters.Initialise(options.seed);
    OCTET_ASSIGN(const AdapterFormat format, ParseAdapterFormat(options.lora_format));
    OCTET_ASSIGN(TrainedModel trained, TrainAdapters(std::move(model), std::move(adapters)));
    trained.adapter_format = format;
    return trained;
  }
  OCTET_ASSIGN(Parameters weights, DecodeWeights(*model));
  if (options.balance_bias > 0) {
    OCTET_ASSIGN(weights, WithRouterBias(config, std::move(weights)));
  }
  ToHalvesPairing(config, weights);
  config.context_len = std::max(config.context_len, options.context);
  return TrainWeights(config, std::move(weights));
}

Result<Objective> ObjectiveOf(const TrainOptions& options, DocumentKind kind) {
  OCTET_ASSIGN(const Objective objective, ParseObjective(options.objective));
  const bool pairs = kind == DocumentKind::kPreferences;
  if (pairs != (objective != Objective::kTokens)) {
    return Err(ErrorCode::kInvalidArgument, "objective {} learns from {}, the sources hold {}",
               options.objective, pairs ? "text or chats" : "preferences",
               pairs ? "preferences" : "text or chats");
  }
  return objective;
}

/// What makes two stretches parts of one run; anything else may change between them.
std::map<std::string, std::string> IdentityOf(const TrainOptions& o, const Mixture& mixture,
                                              const ModelConfig& c) {
  std::map<std::string, std::string> identity;
  auto add = [&](const char* name, const auto& value) {
    identity[name] = fmt::format("{}", value);
  };
  add("seed", o.seed);
  add("objective", o.objective);
  if (o.lora_rank > 0) add("lora-rank", o.lora_rank);
  if (o.optimizer != "adamw") add("optimizer", o.optimizer);
  add("context", o.context);
  add("batch-tokens", o.batch_tokens);
  add("accumulate", o.accumulate);
  add("shape",
      fmt::format("{} layers, width {}, {} heads, {} kv heads, ffn {}, {} experts, top {}, "
                  "vocabulary {}",
                  c.n_layers, c.d_model, c.n_heads, c.n_kv_heads, c.d_ff, c.n_experts,
                  c.n_experts_per_token, c.vocab_size));
  for (const Source& source : mixture.sources()) {
    if (source.weight == 0) continue;  // held out: what is measured may change
    identity["source " + source.name] =
        fmt::format("{:016x}, {} documents, weight {}", source.tokens.ContentChecksum(),
                    source.documents, source.weight);
  }
  return identity;
}

Result<TrainerOptions> TrainerOptionsOf(const TrainOptions& o, Objective objective,
                                        const KernelTable& kernels) {
  TrainerOptions t;
  OCTET_ASSIGN(t.precision, ParsePrecision(o.precision, kernels));
  t.learner.objective = {.kind = objective,
                         .beta = o.beta,
                         .label_smoothing = o.label_smoothing,
                         .gamma = o.gamma,
                         .lambda = o.lambda};
  t.learner.router = {.balance = o.balance, .z = o.router_z, .pooled = !o.balance_per_layer};
  t.learner.recompute = o.recompute ? Recompute::kLayers : Recompute::kNone;
  t.learner.capacity_factor = o.capacity_factor;
  t.optimizer = {.adamw = {.beta1 = o.beta1,
                           .beta2 = o.beta2,
                           .eps = o.eps,
                           .weight_decay = o.weight_decay,
                           .router_rate = o.router_rate},
                 .muon = o.optimizer == "muon",
                 .momentum = o.momentum};
  OCTET_ASSIGN(t.schedule.kind, ParseSchedule(o.schedule));
  t.schedule.peak = o.rate;
  t.schedule.final_fraction = o.final_rate;
  t.schedule.steps = o.steps;
  t.schedule.warmup_steps = o.warmup;
  t.schedule.decay_steps = o.decay_steps;
  t.accumulate = o.accumulate;
  t.clip_norm = o.clip;
  t.average_decay = o.average;
  t.balance_bias = o.balance_bias;
  t.save_every = o.save_every;
  t.held_out_every = o.held_out_every;
  t.keep = o.keep;
  OCTET_ASSIGN(t.guard, ParseGuard(o.router_guard));
  t.folder = o.output;
  t.stop = o.stop;
  t.on_reference = o.on_reference;
  return t;
}

/// `chat_format`: what the model learns, so that whoever loads it asks it so.
CompanionFiles CompanionsOf(const ModelConfig& config, const Tokenizer& tokenizer,
                            ChatFormat chat_format) {
  Vocabulary vocabulary = tokenizer.vocabulary();
  if (RecogniseChatFormat(vocabulary) != chat_format) {
    vocabulary.chat_template = JinjaTemplateOf(chat_format);
  }
  return {{"config.json", HfConfigOf(config, &vocabulary, "float32").dump(2) + "\n"},
          {"tokenizer.model", SentencePieceModel(vocabulary)},
          {"tokenizer_config.json", HfTokenizerConfigOf(vocabulary).dump(2) + "\n"}};
}

/// curves.svg, from the metrics beside it.
Status DrawCurves(const fs::path& folder) {
  const std::string name = fs::weakly_canonical(folder).filename().string();
  OCTET_ASSIGN(const std::string svg, TrainCurvesSvg(folder / "metrics.jsonl", name));
  return WriteFileAtomically(folder / "curves.svg", svg);
}

Result<TrainReport> RunTraining(const TrainOptions& options,
                                const std::function<void(const TrainUpdate&)>& on_update) {
  OCTET_TRY(CheckOptions(options));
  if (options.tokenizer.empty() && options.model.empty()) {
    return Err(ErrorCode::kInvalidArgument,
               "a tokenizer is missing: a tokenizer.model, or a model to begin from");
  }
  OCTET_ASSIGN(const std::unique_ptr<Tokenizer> tokenizer,
               LoadTokenizer(options.tokenizer.empty() ? options.model : options.tokenizer));
  if (!options.resume && !NewestRun(options.output).empty()) {
    return Err(ErrorCode::kInvalidArgument,
               "{} holds a run already; resume it, or choose another folder",
               options.output.string());
  }
  OCTET_ASSIGN(std::vector<Source> sources, OpenSources(options, *tokenizer));
  OCTET_ASSIGN(const uint32_t isa, SelectIsaFromEnvironment());
  OCTET_ASSIGN(TrainedModel trained, options.model.empty() ? BeginNew(options, *tokenizer)
                                                           : BeginFrom(options, *tokenizer));
  const ModelConfig config = trained.model->config();
  OCTET_ASSIGN(Mixture mixture,
               Mixture::Create(std::move(sources), {options.seed, config.vocab_size,
                                                    options.context, options.batch_tokens}));
  const DocumentKind kind = mixture.kind();
  OCTET_ASSIGN(const Objective objective, ObjectiveOf(options, kind));
  const KernelTable kernels = SelectKernels(isa);
  OCTET_ASSIGN(TrainerOptions trainer_options, TrainerOptionsOf(options, objective, kernels));
  OCTET_ASSIGN(
      PeakWatch peak,
      PeakWatch::Create(
          kernels, trainer_options.precision == Precision::kBf16 ? Peak::kAmxBf16 : Peak::kFmaF32,
          options.threads));
  trainer_options.identity = IdentityOf(options, mixture, config);
  if (options.lora_rank == 0) {
    OCTET_ASSIGN(const ChatFormat chat_format,
                 kind == DocumentKind::kText
                     ? Result<ChatFormat>(RecogniseChatFormat(tokenizer->vocabulary()))
                     : ChatFormatOf(options, *tokenizer));
    trainer_options.companions = CompanionsOf(config, *tokenizer, chat_format);
  }
  OCTET_ASSIGN(const std::vector<double> bytes_per_token,
               HeldOutBytes(mixture, config, *tokenizer, options.context));
  std::vector<std::string> names;
  for (const Source& source : mixture.sources()) names.push_back(source.name);

  OCTET_ASSIGN(const std::unique_ptr<Trainer> trainer,
               Trainer::Create(std::move(trained), std::move(mixture), std::move(trainer_options),
                               options.threads, kernels));
  if (options.resume) OCTET_TRY(trainer->Resume());
  OCTET_TRY(trainer->PrepareReference());
  TrainReport report;
  const ParameterCount count = CountParameters(config);
  report.parameters = count.total;
  report.active_parameters = count.active;
  report.first_step = trainer->step();
  OCTET_ASSIGN(MetricsFiles metrics, MetricsFiles::Open(options.output, trainer->step()));
  Status told;
  int64_t last = trainer->step();
  auto tell = [&](const UpdateReport& update) -> Status {
    if (update.step <= last) {  // the guard went back
      OCTET_ASSIGN(metrics, MetricsFiles::Open(options.output, update.step - 1));
    }
    last = update.step;
    TrainUpdate shown = ToUpdate(update, options.steps, names, bytes_per_token);
    shown.peak_share = peak.Share(update.flops_per_s, update.seconds);
    if (options.sample_every > 0 && update.step % options.sample_every == 0) {
      OCTET_ASSIGN(shown.samples, SampleModel(trainer->trained(), *tokenizer, kind, options));
    }
    OCTET_TRY(metrics.Append(shown));
    if (!shown.held_out.empty()) OCTET_TRY(DrawCurves(options.output));
    on_update(shown);
    return {};
  };
  const Status ran = trainer->Run([&](const UpdateReport& update) {
    if (told) told = tell(update);
  });
  if (trainer->step() > report.first_step) OCTET_TRY(DrawCurves(options.output));
  OCTET_TRY(ran);
  OCTET_TRY(std::move(told));
  report.steps = trainer->step();
  report.checkpoint = NewestRun(options.output);
  return report;
}

}  // namespace

Result<TrainReport> Train(const TrainOptions& options,
                          const std::function<void(const TrainUpdate&)>& on_update) {
  return Guarded([&] { return RunTraining(options, on_update); });
}

}  // namespace octet
