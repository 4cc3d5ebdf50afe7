#include "api/train_options.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "cpu/isa.h"

namespace octet {
namespace {

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

}  // namespace

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

double AlphaOf(const TrainOptions& o) {
  return o.lora_alpha > 0 ? o.lora_alpha : 2 * static_cast<double>(o.lora_rank);
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
  if (o.tokenizer.empty() && o.model.empty()) {
    return Err(ErrorCode::kInvalidArgument,
               "a tokenizer is missing: a tokenizer.model, or a model to begin from");
  }
  return {};
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

}  // namespace octet
