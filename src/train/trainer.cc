#include "train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/rng.h"
#include "train/balance_bias.h"
#include "train/reference.h"

namespace octet {
namespace {

constexpr uint64_t kDropoutStream = 0xd809;
constexpr int kMaxSkipped = 10;  // updates in a row
constexpr int kMaxRollbacks = 5;

class Stopwatch {
 public:
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// What learning from the batch needs: frozen weights have no gradients.
double FlopsOf(const TrainBatch& batch, const TrainedModel& trained) {
  const ModelConfig& c = trained.model->config();
  double keys = 0;
  for (const int32_t position : batch.position) {
    const int64_t seen = int64_t{position} + 1;
    keys += static_cast<double>(c.sliding_window > 0 ? std::min(seen, c.sliding_window) : seen);
  }
  const auto rows = static_cast<double>(batch.token.size());
  const double whole = rows * TrainingFlops(c, rows > 0 ? keys / rows : 0);
  return trained.adapters == nullptr ? whole : whole * 2 / 3;
}

bool IsDue(int64_t every, int64_t step) { return every > 0 && step % every == 0; }

}  // namespace

Trainer::Trainer(TrainedModel trained, Mixture mixture, TrainerOptions options, int threads,
                 const KernelTable& kernels)
    : trained_(std::move(trained)),
      mixture_(std::move(mixture)),
      options_(std::move(options)),
      pool_(threads),
      kernels_(kernels),
      context_{pool_, kernels_, arena_,
               options_.precision == Precision::kBf16 ? Arithmetic::kBf16 : Arithmetic::kFloat32} {}

Result<std::unique_ptr<Trainer>> Trainer::Create(TrainedModel trained, Mixture mixture,
                                                 TrainerOptions options, int threads,
                                                 const KernelTable& kernels) {
  std::unique_ptr<Trainer> t(
      new Trainer(std::move(trained), std::move(mixture), std::move(options), threads, kernels));
  std::error_code error;
  std::filesystem::create_directories(t->options_.folder, error);
  if (error) return Err(ErrorCode::kIo, "{}: {}", t->options_.folder.string(), error.message());
  if (t->options_.precision == Precision::kBf16) {
    OCTET_ASSIGN(t->tiles_, ModelTiles::Create(*t->trained_.model));
    t->RefreshTiles();
  }
  t->learner_ = std::make_unique<Learner>(*t->trained_.model, t->trained_.gradients,
                                          t->options_.learner, t->context_);
  OCTET_ASSIGN(Optimizer optimizer, Optimizer::Create(t->trained_.tensors, t->options_.optimizer));
  t->optimizer_ = std::make_unique<Optimizer>(std::move(optimizer));
  if (t->options_.average_decay > 0) {
    OCTET_ASSIGN(WeightAverage average,
                 WeightAverage::Create(t->trained_.tensors, t->options_.average_decay));
    t->average_ = std::make_unique<WeightAverage>(std::move(average));
  }
  return t;
}

Status Trainer::Resume() {
  const std::filesystem::path newest = NewestRun(options_.folder);
  if (newest.empty()) return {};
  OCTET_ASSIGN(state_, LoadRun(newest, Tensors(), options_.identity));
  RefreshTiles();
  guard_.Restore(state_.guard);
  return mixture_.Restore(state_.cursor);
}

std::filesystem::path Trainer::ReferencePath(const Source& source) const {
  return options_.folder / "data" / (source.name + ".reference");
}

Status Trainer::Save() {
  state_.cursor = mixture_.cursor();
  state_.identity = options_.identity;
  state_.guard = guard_.memory();
  return SaveRun(options_.folder, state_, Tensors(), options_.companions, options_.keep);
}

Result<std::vector<double>> Trainer::ComputeReference(size_t source, int64_t& done, int64_t total) {
  const int64_t documents = mixture_.sources()[source].tokens.documents();
  std::vector<double> sums;
  for (int64_t first = 0; first < documents;) {
    if (options_.stop != nullptr && options_.stop->load())
      return Err(ErrorCode::kCancelled, "stopped before the first update");
    int64_t taken = 0;
    OCTET_ASSIGN(const TrainBatch batch, mixture_.InOrder(source, first, documents - first, taken));
    const std::vector<double> part = learner_->CompletionLogProbs(batch);
    sums.insert(sums.end(), part.begin(), part.end());
    first += taken;
    done += taken;
    if (options_.on_reference) options_.on_reference(done, total);
  }
  return sums;
}

Status Trainer::PrepareReference() {
  if (!NeedsReference(options_.learner.objective.kind)) return {};
  CHECK(state_.step == 0);
  // A run that has begun keeps the model it was begun with, whatever was named now.
  const bool begun = !NewestRun(options_.folder).empty();
  const std::vector<Source>& sources = mixture_.sources();
  reference_.assign(sources.size(), {});
  std::vector<std::pair<size_t, ReferenceKey>> missing;
  int64_t done = 0, total = 0;
  for (size_t i = 0; i < sources.size(); ++i) {
    const TokenFile& tokens = sources[i].tokens;
    const ReferenceKey key = {tokens.ContentChecksum() ^ static_cast<uint64_t>(mixture_.context()),
                              options_.reference_model};
    auto known = ReadReference(ReferencePath(sources[i]), key,
                               static_cast<size_t>(tokens.documents()), begun);
    if (known) {
      reference_[i] = *std::move(known);
    } else {
      missing.emplace_back(i, key);
      total += tokens.documents();
    }
  }
  for (const auto& [i, key] : missing) {
    OCTET_ASSIGN(reference_[i], ComputeReference(i, done, total));
    OCTET_TRY(WriteReference(ReferencePath(sources[i]), key, reference_[i]));
  }
  return {};
}

void Trainer::SetReferences(TrainBatch& batch) const {
  if (reference_.empty()) return;
  for (Completion& c : batch.completions)
    c.reference = reference_[static_cast<size_t>(c.source)][static_cast<size_t>(c.document)];
}

Result<UpdateReport> Trainer::Update() {
  const Stopwatch watch;
  std::vector<TrainBatch> batches;
  double normaliser = 0;
  for (int64_t i = 0; i < options_.accumulate; ++i) {
    OCTET_ASSIGN(TrainBatch batch, mixture_.Next());
    SetReferences(batch);
    batch.dropout_seed = RandomBits(options_.dropout_seed, kDropoutStream,
                                    static_cast<uint64_t>(state_.step * options_.accumulate + i));
    // As many zeros as there are targets: the weight and number of them is all that counts here.
    const std::vector<float> none(batch.target_row.size());
    normaliser +=
        NaturalNormaliser(options_.learner.objective, {none, batch.weight, batch.completions});
    batches.push_back(std::move(batch));
  }
  // The first micro-batch writes most gradients, which saves two passes over them.
  bool begins = trained_.adapters == nullptr;
  if (!begins) ZeroGradients(optimizer_->tensors(), pool_);
  UpdateReport report;
  int64_t rows = 0;
  std::vector<int64_t> load;
  double correct = 0, count = 0, flops = 0;
  const double share = 1 / static_cast<double>(batches.size());
  for (const TrainBatch& batch : batches) {
    LearnerValue value = learner_->Accumulate(batch, normaliser, share, begins);
    begins = false;
    report.loss += value.objective.loss;
    report.balance += share * value.balance;
    report.z += share * value.z;
    report.dropped += share * value.dropped;
    correct += value.objective.correct;
    count += static_cast<double>(value.objective.count);
    rows += static_cast<int64_t>(batch.token.size());
    flops += FlopsOf(batch, trained_);
    load.resize(value.routers.load.size());
    for (size_t i = 0; i < load.size(); ++i) load[i] += value.routers.load[i];
    report.routers = std::move(value.routers);
  }
  report.accuracy = count > 0 ? correct / count : 0;
  report.grad_norm = GradientNorm(optimizer_->tensors(), context_);
  report.rate = std::ldexp(options_.schedule.At(state_.step), -state_.rollbacks);
  report.skipped = !std::isfinite(report.grad_norm);
  if (!report.skipped) {
    const bool clips = options_.clip_norm > 0 && report.grad_norm > options_.clip_norm;
    optimizer_->Step(report.rate, clips ? options_.clip_norm / report.grad_norm : 1, context_,
                     tiles_.get());
    if (options_.balance_bias > 0)
      UpdateBalanceBias(load, options_.balance_bias, *trained_.weights);
    if (average_ != nullptr) average_->Update(pool_);
  }
  const double seconds = watch.Seconds();
  state_.tokens += rows;
  state_.seconds += seconds;
  report.step = ++state_.step;
  report.tokens = state_.tokens;
  report.seconds = state_.seconds;
  report.tokens_per_s = static_cast<double>(rows) / seconds;
  report.flops_per_s = flops / seconds;
  return report;
}

Result<HeldOutValue> Trainer::HeldOutOf(size_t index) {
  const Source& source = mixture_.sources()[index];
  HeldOutValue out;
  double weight = 0, correct = 0, count = 0;
  for (int64_t first = source.documents; first < source.tokens.documents();) {
    int64_t taken = 0;
    OCTET_ASSIGN(TrainBatch batch,
                 mixture_.InOrder(index, first, source.tokens.documents() - first, taken));
    SetReferences(batch);
    const std::vector<float> none(batch.target_row.size());
    const double part =
        NaturalNormaliser(options_.learner.objective, {none, batch.weight, batch.completions});
    const ObjectiveValue value = learner_->Evaluate(batch).objective;
    out.loss += part * value.loss;
    out.margins.insert(out.margins.end(), value.margins.begin(), value.margins.end());
    correct += value.correct;
    count += static_cast<double>(value.count);
    weight += part;
    first += taken;
  }
  out.loss /= weight;
  out.accuracy = count > 0 ? correct / count : 0;
  return out;
}

Result<std::vector<HeldOutValue>> Trainer::HeldOut() {
  std::vector<HeldOutValue> values;
  for (size_t i = 0; i < mixture_.sources().size(); ++i) {
    OCTET_ASSIGN(HeldOutValue value, HeldOutOf(i));
    values.push_back(std::move(value));
  }
  return values;
}

Status Trainer::Guard(UpdateReport& report) {
  if (options_.guard == GuardAction::kOff) return {};
  report.warning = guard_.Update(report.routers);
  if (report.warning.empty() || options_.guard == GuardAction::kWarn) return {};
  if (options_.guard == GuardAction::kRollBack) return RollBack(report);
  return Err(ErrorCode::kInternal, "update {}: {}; the newest checkpoint is from before",
             report.step, report.warning);
}

Status Trainer::RollBack(UpdateReport& report) {
  const std::filesystem::path newest = NewestRun(options_.folder);
  if (state_.rollbacks == kMaxRollbacks) {
    return Err(ErrorCode::kInternal, "update {}: {}; going back {} times did not help", report.step,
               report.warning, kMaxRollbacks);
  }
  const int rollbacks = state_.rollbacks + 1;
  const double seconds = state_.seconds;
  // Weights and moments only: the data that led here is not taken again.
  OCTET_ASSIGN(state_, LoadRun(newest, Tensors(), options_.identity));
  RefreshTiles();
  state_.rollbacks = rollbacks;
  state_.seconds = seconds;
  guard_.Forget();
  report.warning += fmt::format("; going back to update {} with half the rate", state_.step);
  // At once: a run killed from here on must not go back a second time for the same reason.
  return Save();
}

Status Trainer::Run(const std::function<Status(const UpdateReport&)>& on_update) {
  int skipped = 0;
  int64_t saved = state_.step;
  if (options_.guard == GuardAction::kRollBack && NewestRun(options_.folder).empty())
    OCTET_TRY(Save());  // a place to go back to
  while (state_.step < options_.schedule.steps) {
    OCTET_ASSIGN(UpdateReport report, Update());
    skipped = report.skipped ? skipped + 1 : 0;
    if (skipped == kMaxSkipped) {
      return Err(ErrorCode::kInternal,
                 "update {}: gradients were not finite {} times in a row; the run has diverged: "
                 "go back to an earlier checkpoint with a lower rate",
                 report.step, kMaxSkipped);
    }
    OCTET_TRY(Guard(report));
    const bool last = state_.step == options_.schedule.steps;
    if (IsDue(options_.held_out_every, state_.step) || (last && options_.held_out_every > 0)) {
      OCTET_ASSIGN(report.held_out, HeldOut());
    }
    Status told = on_update(report);
    const bool stop = options_.stop != nullptr && options_.stop->load();
    // What the guard may want to go back to must be from before.
    const bool doubtful = options_.guard == GuardAction::kRollBack && guard_.suspicious();
    if (last || stop || !told || (IsDue(options_.save_every, state_.step) && !doubtful)) {
      OCTET_TRY(Save());
      saved = state_.step;
    }
    OCTET_TRY(std::move(told));
    if (stop && !last) {
      return Err(ErrorCode::kCancelled,
                 "stopped after update {} of {}; --resume goes on from there", saved,
                 options_.schedule.steps);
    }
  }
  return {};
}

}  // namespace octet
