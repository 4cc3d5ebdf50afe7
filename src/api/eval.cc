#include "octet/eval.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <numeric>

#include "api/runtime.h"
#include "base/file.h"
#include "eval/perplexity.h"
#include "io/npy.h"
#include "text/tokenizer.h"

namespace octet {
namespace {

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Result<std::unique_ptr<Runtime>> Load(const ComputeOptions& compute) {
  return Runtime::Load(compute.model, {compute.arithmetic, compute.threads});
}

Result<Format> ParseKvFormat(const std::string& name, Arithmetic arithmetic) {
  if (name.empty()) return arithmetic == Arithmetic::kFloat32 ? Format::kF32 : Format::kF16;
  const auto format = FormatFromName(name);
  if (!format)
    return Err(ErrorCode::kInvalidArgument, "KV type \"{}\": expected f32, f16, bf16 or q8_0",
               name);
  return *format;
}

/// Writes each activation to its own .npy as the rows come. The first error is kept and ends the
/// work.
class TraceWriter : public Observer {
 public:
  TraceWriter(std::filesystem::path folder, int64_t rows)
      : folder_(std::move(folder)), rows_(rows) {}

  void OnActivation(const char* name, int32_t layer, View<const float, 2> value) override {
    const std::string file =
        layer < 0 ? fmt::format("{}.npy", name) : fmt::format("layer_{:02}.{}.npy", layer, name);
    Append(file, value, NpyWriter::Type::kFloat32);
  }
  void OnRouting(int32_t layer, View<const int32_t, 2> experts,
                 View<const float, 2> weights) override {
    Append(fmt::format("layer_{:02}.experts.npy", layer), experts, NpyWriter::Type::kInt32);
    Append(fmt::format("layer_{:02}.expert_weights.npy", layer), weights,
           NpyWriter::Type::kFloat32);
  }

  const Status& status() const { return status_; }

  /// Gives every file its name; returns the paths in name order.
  Result<std::vector<std::string>> Finish() {
    std::vector<std::string> files;
    for (auto& [name, writer] : writers_) {
      OCTET_TRY(writer.Finish());
      files.push_back((folder_ / name).string());
    }
    return files;
  }

 private:
  template <class T>
  void Append(const std::string& file, View<const T, 2> value, NpyWriter::Type type) {
    if (!status_) return;
    auto found = writers_.find(file);
    if (found == writers_.end()) {
      auto writer = NpyWriter::Create(folder_ / file, type, {rows_, value.shape[1]});
      if (!writer) {
        status_ = tl::unexpected(writer.error());
        return;
      }
      found = writers_.emplace(file, *std::move(writer)).first;
    }
    for (int64_t t = 0; t < value.shape[0] && status_; ++t) {
      status_ = found->second.Append(
          std::span<const T>(value[t].data, static_cast<size_t>(value.shape[1])));
    }
  }

  std::filesystem::path folder_;
  int64_t rows_;
  std::map<std::string, NpyWriter> writers_;
  Status status_;
};

Status CheckTokens(const ModelConfig& config, const std::vector<int32_t>& tokens) {
  if (tokens.empty()) return Err(ErrorCode::kInvalidArgument, "no tokens given");
  if (static_cast<int64_t>(tokens.size()) > config.context_len) {
    return Err(ErrorCode::kInvalidArgument, "{} tokens do not fit the model's context of {}",
               tokens.size(), config.context_len);
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= config.vocab_size) {
      return Err(ErrorCode::kInvalidArgument, "token {} is {}, expected 0 to {}", i, tokens[i],
                 config.vocab_size - 1);
    }
  }
  return {};
}

/// Feeds the tokens in steps of a bounded size and appends the logits of every row.
Status RunTokens(Runtime& runtime, Context& context, Format kv_format,
                 const std::vector<int32_t>& tokens, Observer* observer,
                 const std::function<Status(View<const float, 2>)>& on_logits) {
  constexpr int64_t kStepRows = 256;
  const auto n = static_cast<int64_t>(tokens.size());
  OCTET_ASSIGN(KvCache kv,
               KvCache::Create(runtime.model->config(), {kv_format, 64, (n + 63) / 64}));
  const int32_t sequence = kv.AddSequence();
  OCTET_TRY(kv.Reserve(sequence, n));
  const std::vector<int32_t> sequences(kStepRows, sequence);
  std::vector<int32_t> rows(kStepRows), positions(tokens.size());
  std::iota(rows.begin(), rows.end(), 0);
  std::iota(positions.begin(), positions.end(), 0);
  for (int64_t at = 0; at < n; at += kStepRows) {
    const auto count = static_cast<size_t>(std::min(kStepRows, n - at));
    const auto first = static_cast<size_t>(at);
    Arena::Scope scope(runtime.scratch);
    const Batch batch{std::span(tokens).subspan(first, count),
                      std::span(positions).subspan(first, count), std::span(sequences).first(count),
                      std::span(rows).first(count)};
    OCTET_TRY(on_logits(Forward(*runtime.model, batch, kv, {observer}, context)));
  }
  return {};
}

}  // namespace

Result<LogitsReport> WriteLogits(const ComputeOptions& compute, const LogitsRequest& request) {
  OCTET_ASSIGN(const std::unique_ptr<Runtime> runtime, Load(compute));
  OCTET_ASSIGN(const Format kv_format, ParseKvFormat(compute.kv_type, runtime->arithmetic));
  const ModelConfig& config = runtime->model->config();
  OCTET_TRY(CheckTokens(config, request.tokens));
  const auto start = std::chrono::steady_clock::now();
  const auto n = static_cast<int64_t>(request.tokens.size());
  Context context = runtime->MakeContext();

  std::unique_ptr<TraceWriter> trace;
  if (!request.trace.empty()) {
    std::error_code error;
    std::filesystem::create_directories(request.trace, error);
    if (error)
      return Err(ErrorCode::kIo, "{}: cannot create the folder: {}", request.trace.string(),
                 error.message());
    trace = std::make_unique<TraceWriter>(request.trace, n);
  }
  OCTET_ASSIGN(NpyWriter out,
               NpyWriter::Create(request.out, NpyWriter::Type::kFloat32, {n, config.vocab_size}));
  OCTET_TRY(RunTokens(*runtime, context, kv_format, request.tokens, trace.get(),
                      [&](View<const float, 2> logits) -> Status {
                        if (trace && !trace->status()) return trace->status();
                        return out.Append(std::span<const float>(
                            logits.data, static_cast<size_t>(logits.size())));
                      }));
  OCTET_TRY(out.Finish());
  LogitsReport report{n, config.vocab_size, 0, {request.out.string()}};
  if (trace) {
    OCTET_ASSIGN(const std::vector<std::string> files, trace->Finish());
    report.files.insert(report.files.end(), files.begin(), files.end());
  }
  report.seconds = SecondsSince(start);
  return report;
}

Result<PerplexityReport> MeasureFilePerplexity(const ComputeOptions& compute,
                                               const std::filesystem::path& text,
                                               int64_t context_tokens,
                                               const PerplexityProgress& progress) {
  OCTET_ASSIGN(const std::string content, ReadTextFile(text));
  OCTET_ASSIGN(const std::unique_ptr<Runtime> runtime, Load(compute));
  OCTET_ASSIGN(const Format kv_format, ParseKvFormat(compute.kv_type, runtime->arithmetic));
  OCTET_ASSIGN(const std::unique_ptr<Tokenizer> tokenizer, runtime->LoadTokenizer());
  const std::vector<int32_t> ids = tokenizer->Encode(content);
  const auto start = std::chrono::steady_clock::now();
  Context context = runtime->MakeContext();
  const Vocabulary& vocabulary = tokenizer->vocabulary();
  const PerplexityOptions options{context_tokens, vocabulary.add_bos ? vocabulary.bos : -1,
                                  kv_format};
  OCTET_ASSIGN(const PerplexityResult result,
               MeasurePerplexity(*runtime->model, ids, options, context,
                                 [&](int64_t done, int64_t total, const PerplexityResult& so_far) {
                                   return !progress || progress(done, total, so_far.perplexity);
                                 }));
  return PerplexityReport{result.perplexity,
                          result.standard_error,
                          result.mean_nll,
                          result.scored_tokens,
                          result.windows,
                          context_tokens,
                          static_cast<int64_t>(ids.size()),
                          SecondsSince(start)};
}

}  // namespace octet
