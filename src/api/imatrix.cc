#include "octet/imatrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <system_error>
#include <utility>

#include "api/guard.h"
#include "api/runtime.h"
#include "base/file.h"
#include "model/forward.h"
#include "ptq/calibration.h"

namespace octet {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Status CheckOptions(const ImatrixOptions& options) {
  if (options.texts.empty()) {
    return Err(ErrorCode::kInvalidArgument, "no text to compute; name a file of plain text");
  }
  if (options.min_tokens_per_expert < 0 || options.max_tokens < 0) {
    return Err(ErrorCode::kInvalidArgument, "{} tokens an expert, {} in all: expected 0 or more",
               options.min_tokens_per_expert, options.max_tokens);
  }
  std::error_code ignored;
  if (!options.out.empty() && fs::exists(options.out, ignored) && !options.resume &&
      !options.force) {
    return Err(ErrorCode::kInvalidArgument,
               "{}: exists; --resume goes on from it, --force replaces it", options.out.string());
  }
  return {};
}

std::vector<std::string> Names(const std::vector<fs::path>& texts) {
  std::vector<std::string> names;
  for (const fs::path& text : texts) names.push_back(text.filename().string());
  return names;
}

/// One collection from the first window to the last.
class Collection {
 public:
  Collection(const ImatrixOptions& options, Runtime& runtime)
      : options_(options), runtime_(runtime), collector_(runtime.model->config()) {}

  Status Tokenize() {
    OCTET_ASSIGN(const std::unique_ptr<Tokenizer> tokenizer, runtime_.LoadTokenizer());
    const Vocabulary& vocabulary = tokenizer->vocabulary();
    if (vocabulary.add_bos) bos_ = vocabulary.bos;
    for (const fs::path& path : options_.texts) {
      OCTET_ASSIGN(const std::string text, ReadTextFile(path));
      const std::vector<int32_t> ids = tokenizer->Encode(text);
      ids_.insert(ids_.end(), ids.begin(), ids.end());
    }
    report_.text_tokens = static_cast<int64_t>(ids_.size());
    const ModelConfig& config = runtime_.model->config();
    constexpr int64_t kDefaultContext = 512;
    if (options_.context == 0) options_.context = std::min(kDefaultContext, config.context_len);
    if (options_.context < 2 || options_.context > config.context_len) {
      return Err(ErrorCode::kInvalidArgument,
                 "context {}: expected 2 to {}, the model's context, or 0", options_.context,
                 config.context_len);
    }
    if (report_.text_tokens < 2) {
      return Err(ErrorCode::kInvalidArgument, "the text has {} tokens, at least 2 are needed",
                 report_.text_tokens);
    }
    for (const int32_t id : ids_) {
      if (id >= 0 && id < config.vocab_size) continue;
      return Err(ErrorCode::kCorrupt, "the tokenizer gave {}, the model's ids are 0 to {}", id,
                 config.vocab_size - 1);
    }
    return {};
  }

  Status Resume() {
    std::error_code ignored;
    if (!options_.resume || options_.out.empty() || !fs::exists(options_.out, ignored)) return {};
    OCTET_ASSIGN(const ImportanceMatrix earlier, ReadImportance(options_.out));
    if (earlier.datasets != Names(options_.texts) || earlier.chunk_tokens != options_.context) {
      return Err(ErrorCode::kInvalidArgument,
                 "{}: is of {} in windows of {}, not of these texts in windows of {}; --force "
                 "replaces it",
                 options_.out.string(), fmt::join(earlier.datasets, ", "), earlier.chunk_tokens,
                 options_.context);
    }
    OCTET_TRY(collector_.Restore(earlier));
    windows_ = earlier.chunks;
    return {};
  }

  Status Run(Context& context, const ImatrixProgress& progress) {
    const ModelConfig& config = runtime_.model->config();
    OCTET_ASSIGN(KvCache kv,
                 KvCache::Create(config, {Format::kF16, 64, (options_.context + 63) / 64}));
    auto saved = Clock::now();
    const int64_t total = TokensToDo();
    Report(total, progress);
    while (!Enough(total)) {
      if (options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed)) {
        report_.stopped = true;
        break;
      }
      OCTET_TRY(ComputeWindow(kv, context));
      Report(total, progress);
      constexpr double kSaveEverySeconds = 60;
      if (SecondsSince(saved) < kSaveEverySeconds) continue;
      OCTET_TRY(Save());
      saved = Clock::now();
    }
    return Save();
  }

  ImatrixReport Finish() {
    const ModelConfig& config = runtime_.model->config();
    report_.layers = static_cast<int32_t>(config.n_layers);
    report_.experts = static_cast<int32_t>(config.n_experts);
    report_.expert_tokens = collector_.ExpertTokens();
    AddNotes();
    return std::move(report_);
  }

 private:
  int64_t TokensToDo() const {
    const int64_t all = report_.text_tokens, most = options_.max_tokens;
    if (most == 0 || most >= all) return all;
    // Whole windows.
    return std::min(all, (most + options_.context - 1) / options_.context * options_.context);
  }
  int64_t TokensDone() const { return std::min(windows_ * options_.context, report_.text_tokens); }
  bool Enough(int64_t total) const {
    const int64_t wanted = options_.min_tokens_per_expert;
    return TokensDone() >= total || report_.text_tokens - TokensDone() < 2 ||
           (wanted > 0 && collector_.LeastExpertTokens() >= wanted);
  }
  void Report(int64_t total, const ImatrixProgress& progress) {
    report_.tokens = TokensDone();
    if (progress) progress(report_.tokens, total, collector_.LeastExpertTokens());
  }

  Status ComputeWindow(KvCache& kv, Context& context) {
    const int64_t first = windows_ * options_.context;
    const int64_t n = std::min(options_.context, report_.text_tokens - first);
    std::vector<int32_t> window(ids_.begin() + first, ids_.begin() + first + n);
    if (bos_ >= 0) window[0] = bos_;
    std::vector<int32_t> positions(window.size());
    std::iota(positions.begin(), positions.end(), 0);
    const int32_t sequence = kv.AddSequence();
    OCTET_TRY(kv.Reserve(sequence, n));
    const std::vector<int32_t> sequences(window.size(), sequence);
    const Arena::Scope scope(context.scratch);
    Forward(*runtime_.model, {window, positions, sequences, {}}, kv, {&collector_}, context);
    kv.RemoveSequence(sequence);
    if (!collector_.finite()) {
      return Err(ErrorCode::kCorrupt,
                 "{}: activations overflow in tokens {} to {}; the weights are damaged, or need "
                 "--arithmetic float32",
                 runtime_.model->checkpoint().path.string(), first, first + n);
    }
    ++windows_;
    return {};
  }

  Status Save() {
    if (options_.out.empty()) return {};
    ImportanceMatrix matrix = collector_.Matrix();
    matrix.datasets = Names(options_.texts);
    matrix.chunks = windows_;
    matrix.chunk_tokens = options_.context;
    return WriteImportance(options_.out, matrix);
  }

  void AddNotes() {
    if (report_.experts == 0) return;
    const int64_t wanted = std::max(options_.min_tokens_per_expert, kFewInputs);
    std::vector<std::string> fell_short;
    for (size_t i = 0; i < report_.expert_tokens.size(); ++i) {
      if (report_.expert_tokens[i] >= wanted) continue;
      fell_short.push_back(
          fmt::format("layer {} expert {} ({})", i / static_cast<size_t>(report_.experts),
                      i % static_cast<size_t>(report_.experts), report_.expert_tokens[i]));
    }
    if (fell_short.empty()) return;
    constexpr size_t kNamed = 12;
    const size_t n = fell_short.size();
    fell_short.resize(std::min(n, kNamed));
    report_.notes.push_back(
        fmt::format("{} of {} experts saw fewer than {} tokens: {}{}; more text, or text of other "
                    "kinds, reaches them",
                    n, report_.expert_tokens.size(), wanted, fmt::join(fell_short, ", "),
                    n > kNamed ? ", ..." : ""));
  }

  ImatrixOptions options_;
  Runtime& runtime_;
  ImportanceCollector collector_;
  std::vector<int32_t> ids_;
  int32_t bos_ = -1;
  int64_t windows_ = 0;
  ImatrixReport report_;
};

}  // namespace

Result<ImatrixReport> CollectImatrix(const ImatrixOptions& options,
                                     const ImatrixProgress& progress) {
  return Guarded([&]() -> Result<ImatrixReport> {
    OCTET_TRY(CheckOptions(options));
    OCTET_ASSIGN(const std::unique_ptr<Runtime> runtime,
                 Runtime::Load(options.model, {options.arithmetic, options.threads}));
    const auto start = Clock::now();
    Collection collection(options, *runtime);
    OCTET_TRY(collection.Tokenize());
    OCTET_TRY(collection.Resume());
    Context context = runtime->MakeContext();
    OCTET_TRY(collection.Run(context, progress));
    ImatrixReport report = collection.Finish();
    report.seconds = SecondsSince(start);
    return report;
  });
}

}  // namespace octet
