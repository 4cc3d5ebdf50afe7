#include "octet/train.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <span>
#include <system_error>
#include <utility>

#include "api/guard.h"
#include "api/peak_watch.h"
#include "api/train_curves.h"
#include "api/train_data.h"
#include "api/train_metrics.h"
#include "api/train_options.h"
#include "api/train_samples.h"
#include "api/train_start.h"
#include "base/checksum.h"
#include "base/file.h"
#include "base/folder_lock.h"
#include "cpu/isa.h"
#include "model/weights.h"
#include "ptq/model_metadata.h"
#include "text/chat_template.h"
#include "train/trained_model.h"
#include "train/trainer.h"

namespace octet {
namespace {

namespace fs = std::filesystem;

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

/// What the trainer needs to know of data, vocabulary and model, beside the options.
Result<TrainerOptions> PrepareOptions(const TrainOptions& options, const Mixture& mixture,
                                      const ModelConfig& config, const Tokenizer& tokenizer,
                                      const KernelTable& kernels) {
  const DocumentKind kind = mixture.kind();
  OCTET_ASSIGN(const Objective objective, ObjectiveOf(options, kind));
  OCTET_ASSIGN(TrainerOptions t, TrainerOptionsOf(options, objective, kernels));
  t.identity = IdentityOf(options, mixture, config);
  if (options.lora_rank == 0) {
    OCTET_ASSIGN(const ChatFormat chat_format,
                 kind == DocumentKind::kText
                     ? Result<ChatFormat>(RecogniseChatFormat(tokenizer.vocabulary()))
                     : ChatFormatOf(options, tokenizer));
    t.companions = CompanionsOf(config, tokenizer, chat_format);
  }
  if (!options.model.empty()) t.reference_model = FilesKey(options.model);
  return t;
}

/// What is known of a run before it begins, but for the update it begins with.
Result<TrainStart> StartOf(const TrainedModel& trained, const Mixture& mixture,
                           Precision precision) {
  TrainStart start;
  OCTET_ASSIGN(start.sources, CountSources(mixture));
  start.precision = precision == Precision::kBf16 ? "bf16" : "f32";
  for (const TrainedTensor& tensor : trained.tensors)
    start.trained_parameters += static_cast<int64_t>(tensor.weight.size());
  const ParameterCount count = CountParameters(trained.model->config());
  start.parameters = count.total;
  start.active_parameters = count.active;
  return start;
}

/// The files of a run that people read, one update after another.
class Diary {
 public:
  /// `options`, `tokenizer` and what `trained` stands for must outlive it.
  static Result<Diary> Begin(const TrainOptions& options, const Tokenizer& tokenizer,
                             const Mixture& mixture, const ModelConfig& config, PeakWatch peak) {
    OCTET_ASSIGN(std::vector<double> bytes,
                 HeldOutBytes(mixture, config, tokenizer, options.context));
    std::vector<std::string> names;
    for (const Source& source : mixture.sources()) names.push_back(source.name);
    return Diary(options, tokenizer, mixture.kind(), std::move(names), std::move(bytes),
                 std::move(peak));
  }

  /// From after update `step` on.
  Status GoOn(int64_t step) {
    OCTET_ASSIGN(MetricsFiles metrics, MetricsFiles::Open(options_.output, step));
    metrics_ = std::make_unique<MetricsFiles>(std::move(metrics));
    last_ = step;
    return {};
  }

  Result<TrainUpdate> Tell(const UpdateReport& update, const TrainedModel& trained) {
    if (update.step <= last_) OCTET_TRY(GoOn(update.step - 1));  // the guard went back
    last_ = update.step;
    TrainUpdate shown = ToUpdate(update, options_.steps, names_, bytes_per_token_);
    shown.peak_share = peak_.Share(update.flops_per_s, update.seconds);
    if (options_.sample_every > 0 && update.step % options_.sample_every == 0) {
      OCTET_ASSIGN(shown.samples, SampleModel(trained, tokenizer_, kind_, options_));
    }
    OCTET_TRY(metrics_->Append(shown));
    if (!shown.held_out.empty()) OCTET_TRY(DrawCurves(options_.output));
    return shown;
  }

 private:
  Diary(const TrainOptions& options, const Tokenizer& tokenizer, DocumentKind kind,
        std::vector<std::string> names, std::vector<double> bytes_per_token, PeakWatch peak)
      : options_(options),
        tokenizer_(tokenizer),
        kind_(kind),
        names_(std::move(names)),
        bytes_per_token_(std::move(bytes_per_token)),
        peak_(std::move(peak)) {}

  const TrainOptions& options_;
  const Tokenizer& tokenizer_;
  DocumentKind kind_;
  std::vector<std::string> names_;  // of the sources
  std::vector<double> bytes_per_token_;
  PeakWatch peak_;
  std::unique_ptr<MetricsFiles> metrics_;
  int64_t last_ = 0;
};

Result<TrainReport> RunTraining(const TrainOptions& options,
                                const std::function<void(const TrainUpdate&)>& on_update) {
  OCTET_TRY(CheckOptions(options));
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
  const KernelTable kernels = SelectKernels(isa);
  OCTET_ASSIGN(TrainedModel trained, BeginTraining(options, *tokenizer));
  const ModelConfig config = trained.model->config();
  OCTET_ASSIGN(Mixture mixture,
               Mixture::Create(std::move(sources), {options.seed, config.vocab_size,
                                                    options.context, options.batch_tokens}));
  OCTET_ASSIGN(TrainerOptions trainer_options,
               PrepareOptions(options, mixture, config, *tokenizer, kernels));
  OCTET_ASSIGN(TrainStart start, StartOf(trained, mixture, trainer_options.precision));
  OCTET_ASSIGN(
      PeakWatch peak,
      PeakWatch::Create(kernels, PeakOf(trainer_options.precision, kernels), options.threads));
  OCTET_ASSIGN(Diary diary, Diary::Begin(options, *tokenizer, mixture, config, std::move(peak)));

  OCTET_ASSIGN(const std::unique_ptr<Trainer> trainer,
               Trainer::Create(std::move(trained), std::move(mixture), std::move(trainer_options),
                               options.threads, kernels));
  OCTET_TRY(trainer->PrepareReference());
  if (options.resume) OCTET_TRY(trainer->Resume());
  start.first_step = trainer->step();
  if (options.on_start) options.on_start(start);
  OCTET_TRY(diary.GoOn(start.first_step));
  const Status ran = trainer->Run([&](const UpdateReport& update) -> Status {
    OCTET_ASSIGN(const TrainUpdate shown, diary.Tell(update, trainer->trained()));
    on_update(shown);
    return {};
  });
  const Status drawn = trainer->step() > start.first_step ? DrawCurves(options.output) : Status();
  OCTET_TRY(ran);
  OCTET_TRY(drawn);
  return TrainReport{start.parameters, start.active_parameters, start.first_step, trainer->step(),
                     NewestRun(options.output)};
}

}  // namespace

Result<TrainReport> Train(const TrainOptions& options,
                          const std::function<void(const TrainUpdate&)>& on_update) {
  return Guarded([&] { return RunTraining(options, on_update); });
}

}  // namespace octet
