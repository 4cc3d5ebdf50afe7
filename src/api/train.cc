#include "octet/train.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <numbers>
#include <span>
#include <system_error>
#include <utility>

#include "api/guard.h"
#include "api/peak_watch.h"
#include "api/train_curves.h"
#include "api/train_data.h"
#include "api/train_metrics.h"
#include "api/train_samples.h"
#include "base/checksum.h"
#include "base/file.h"
#include "base/folder_lock.h"
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
  const bool tiles = (kernels.tile_product->isa & (kIsaAmxBf16 | kIsaAvx512Bf16)) != 0;
  if (name.empty()) return tiles ? Precision::kBf16 : Precision::kFloat32;
  if (name == "f32") return Precision::kFloat32;
  if (name != "bf16") {
    return Err(ErrorCode::kInvalidArgument, "precision \"{}\" is not one of f32, bf16", name);
  }
  if (!tiles) {
    return Err(ErrorCode::kInvalidArgument,
               "precision bf16 needs AMX bf16 tiles or AVX512_BF16, which this machine (or "
               "OCTET_ISA) does not give; leave precision out, or choose f32");
  }
  return Precision::kBf16;
}

/// What a run's speed is a share of.
Peak PeakOf(Precision precision, const KernelTable& kernels) {
  if (precision == Precision::kFloat32) return Peak::kFmaF32;
  return (kernels.tile_product->isa & kIsaAmxBf16) != 0 ? Peak::kAmxBf16 : Peak::kDotBf16;
}

Result<AdapterFormat> ParseAdapterFormat(const std::string& name) {
  if (name == "peft") return AdapterFormat::kPeft;
  if (name == "peft-fused") return AdapterFormat::kPeftFused;
  if (name == "mistral") return AdapterFormat::kMistral;
  return Err(ErrorCode::kInvalidArgument,
             "lora-format \"{}\" is not one of peft, peft-fused, mistral", name);
}

/// What an option may be: at least `least`, or above it; at most `most`.
struct Bounds {
  const char* name;
  double value;
  double least = 0;
  double most = std::numeric_limits<double>::max();  // infinity is never meant
  bool above = false;
};

Status CheckBounds(const Bounds& b) {
  if ((b.above ? b.value > b.least : b.value >= b.least) && b.value <= b.most) return {};
  const std::string upper = b.most < std::numeric_limits<double>::max()
                                ? fmt::format(" and at most {}", b.most)
                                : std::string();
  return Err(ErrorCode::kInvalidArgument, "{} is {}, expected a number {} {}{}", b.name, b.value,
             b.above ? "above" : "of at least", b.least, upper);
}

Status CheckNumbers(const TrainOptions& o) {
  const auto real = [](int64_t value) { return static_cast<double>(value); };
  for (const Bounds& bounds : {Bounds{"steps", real(o.steps), 1},
                               {"accumulate", real(o.accumulate), 1},
                               {"rate", o.rate},
                               {"final-rate", o.final_rate},
                               {"router-rate", o.router_rate},
                               {"warmup", real(o.warmup)},
                               {"decay-steps", real(o.decay_steps)},
                               {"held-out", real(o.held_out)},
                               {"weight-decay", o.weight_decay},
                               {"clip", o.clip},
                               {"dropout", o.dropout, 0, 0.9},
                               {"eps", o.eps, 0, 1, true},
                               {"balance", o.balance},
                               {"balance-bias", o.balance_bias},
                               {"router-z", o.router_z},
                               {"capacity-factor", o.capacity_factor},
                               {"beta", o.beta, 0, 1e6, true},
                               {"label-smoothing", o.label_smoothing, 0, 0.5},
                               {"gamma", o.gamma},
                               {"lambda", o.lambda},
                               {"desirable-weight", o.desirable_weight},
                               {"undesirable-weight", o.undesirable_weight},
                               {"lora-rank", real(o.lora_rank), 0, 65536},
                               {"lora-alpha", o.lora_alpha},
                               {"save-every", real(o.save_every)},
                               {"held-out-every", real(o.held_out_every)},
                               {"sample-every", real(o.sample_every)},
                               {"sample-tokens", real(o.sample_tokens), 1},
                               {"keep", real(o.keep), 1},
                               {"threads", real(o.threads)}})
    OCTET_TRY(CheckBounds(bounds));
  for (const double decay : {o.beta1, o.beta2, o.average, o.momentum}) {
    if (decay >= 0 && decay < 1) continue;
    return Err(ErrorCode::kInvalidArgument,
               "beta1 {}, beta2 {}, average {} and momentum {} must be at least 0 and below 1",
               o.beta1, o.beta2, o.average, o.momentum);
  }
  return {};
}

Status CheckOptions(const TrainOptions& o) {
  OCTET_TRY(CheckNumbers(o));
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

double AlphaOf(const TrainOptions& o) {
  return o.lora_alpha > 0 ? o.lora_alpha : 2 * static_cast<double>(o.lora_rank);
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
    OCTET_ASSIGN(Adapters adapters, Adapters::Create(config, {options.lora_rank, AlphaOf(options),
                                                              options.lora_targets}));
    adapters.Initialise(options.seed);
    OCTET_ASSIGN(const AdapterFormat format, ParseAdapterFormat(options.lora_format));
    if (options.context > config.context_len) {
      return Err(ErrorCode::kInvalidArgument,
                 "the context is {}, the model's {}, which adapters do not change; give --context "
                 "{} or less",
                 options.context, config.context_len, config.context_len);
    }
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
  const bool pairs = kind == DocumentKind::kPreferences, judged = kind == DocumentKind::kJudgements;
  const bool wants_pairs = objective != Objective::kTokens;
  if (judged ? objective != Objective::kKto : pairs != wants_pairs) {
    return Err(ErrorCode::kInvalidArgument, "objective {} learns from {}, the sources hold {}",
               options.objective,
               objective == Objective::kKto ? "preferences or judgements"
               : wants_pairs                ? "preferences"
                                            : "text or chats",
               pairs    ? "preferences"
               : judged ? "judgements (\"label\"), of which kto learns"
                        : "text or chats");
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
  if (o.lora_rank > 0) {
    add("lora-rank", o.lora_rank);
    add("lora-alpha", AlphaOf(o));
    add("lora-targets", fmt::format("{}", fmt::join(o.lora_targets, ",")));
  }
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
                         .lambda = o.lambda,
                         .desirable_weight = o.desirable_weight,
                         .undesirable_weight = o.undesirable_weight};
  t.learner.router = {.balance = o.balance, .z = o.router_z, .pooled = !o.balance_per_layer};
  t.learner.recompute = o.recompute ? Recompute::kLayers : Recompute::kNone;
  t.learner.capacity_factor = o.capacity_factor;
  t.learner.dropout = o.dropout;
  t.dropout_seed = o.seed;
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
  t.schedule.decay_steps = o.decay_steps > 0 ? o.decay_steps : std::max<int64_t>(o.steps / 5, 1);
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

/// What the files of a model are known by without reading them: names, sizes and times.
uint64_t FilesKey(const fs::path& path) {
  std::error_code error;
  std::vector<fs::path> files = {path};
  for (const auto& entry : fs::directory_iterator(path, error))
    if (entry.is_regular_file(error)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::string text;
  for (const fs::path& file : files) {
    text += fmt::format("{} {} {}\n", fs::weakly_canonical(file, error).string(),
                        fs::is_regular_file(file, error) ? fs::file_size(file, error) : 0,
                        fs::last_write_time(file, error).time_since_epoch().count());
  }
  return Checksum(std::as_bytes(std::span(text)));
}

/// What is learned from, for the user to see.
Result<std::vector<TrainSource>> CountSources(const Mixture& mixture) {
  std::vector<TrainSource> counted;
  const int64_t a_pair = mixture.kind() == DocumentKind::kPreferences ? 2 : 1;
  for (const Source& source : mixture.sources()) {
    TrainSource& s = counted.emplace_back();
    s.name = source.name;
    s.documents = source.documents / a_pair;
    s.held_out = (source.tokens.documents() - source.documents) / a_pair;
    for (int64_t d = 0; d < source.documents; ++d) s.tokens += source.tokens.Size(d);
    if (source.kind == DocumentKind::kText) continue;
    for (int64_t d = 0; d < source.tokens.documents(); ++d) {
      s.cut += source.tokens.Size(d) > mixture.context() ? 1 : 0;
      OCTET_ASSIGN(const std::vector<float> weights,
                   source.tokens.Weights(d, 0, std::min(source.tokens.Size(d), mixture.context())));
      const bool learned =
          std::any_of(weights.begin(), weights.end(), [](float w) { return w > 0; });
      s.without_target += learned ? 0 : 1;
    }
    if (s.without_target == source.tokens.documents()) {
      return Err(ErrorCode::kInvalidArgument,
                 "source {}: none of its answers counts or begins within the context of {} tokens; "
                 "give a longer --context, or messages of the assistant with a weight above 0",
                 s.name, mixture.context());
    }
  }
  return counted;
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
  OCTET_ASSIGN(const FolderLock lock, FolderLock::Take(options.output));
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
      PeakWatch::Create(kernels, PeakOf(trainer_options.precision, kernels), options.threads));
  trainer_options.identity = IdentityOf(options, mixture, config);
  if (options.lora_rank == 0) {
    OCTET_ASSIGN(const ChatFormat chat_format,
                 kind == DocumentKind::kText
                     ? Result<ChatFormat>(RecogniseChatFormat(tokenizer->vocabulary()))
                     : ChatFormatOf(options, *tokenizer));
    trainer_options.companions = CompanionsOf(config, *tokenizer, chat_format);
  }
  if (!options.model.empty()) trainer_options.reference_model = FilesKey(options.model);
  TrainStart start;
  OCTET_ASSIGN(start.sources, CountSources(mixture));
  start.precision = trainer_options.precision == Precision::kBf16 ? "bf16" : "f32";
  for (const TrainedTensor& tensor : trained.tensors)
    start.trained_parameters += static_cast<int64_t>(tensor.weight.size());
  OCTET_ASSIGN(const std::vector<double> bytes_per_token,
               HeldOutBytes(mixture, config, *tokenizer, options.context));
  std::vector<std::string> names;
  for (const Source& source : mixture.sources()) names.push_back(source.name);

  OCTET_ASSIGN(const std::unique_ptr<Trainer> trainer,
               Trainer::Create(std::move(trained), std::move(mixture), std::move(trainer_options),
                               options.threads, kernels));
  OCTET_TRY(trainer->PrepareReference());
  if (options.resume) OCTET_TRY(trainer->Resume());
  TrainReport report;
  const ParameterCount count = CountParameters(config);
  report.parameters = start.parameters = count.total;
  report.active_parameters = start.active_parameters = count.active;
  report.first_step = start.first_step = trainer->step();
  if (options.on_start) options.on_start(start);
  OCTET_ASSIGN(MetricsFiles metrics, MetricsFiles::Open(options.output, trainer->step()));
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
  const Status ran = trainer->Run(tell);
  const Status drawn = trainer->step() > report.first_step ? DrawCurves(options.output) : Status();
  OCTET_TRY(ran);
  OCTET_TRY(drawn);
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
