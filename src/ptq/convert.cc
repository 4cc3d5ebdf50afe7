#include "ptq/convert.h"

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include "model/packing.h"
#include "ptq/conversion.h"

namespace octet {
namespace {

namespace fs = std::filesystem;

bool WritesGguf(const fs::path& destination, ConvertTarget target) {
  return target == ConvertTarget::kGguf ||
         (target == ConvertTarget::kAuto && destination.extension() == ".gguf");
}

/// Without a slash at the end or a "." for a name: partial work stands beside it under its name.
fs::path WithName(const fs::path& path) {
  fs::path clean = path.lexically_normal();
  if (!clean.has_filename()) clean = clean.parent_path();
  if (clean.filename() != "." && clean.filename() != "..") return clean;
  std::error_code ignored;
  clean = fs::absolute(clean, ignored).lexically_normal();
  return clean.has_filename() ? clean : clean.parent_path();
}

/// A GGUF carries its vocabulary to another GGUF as it is, so only other ways need it parsed.
Result<std::unique_ptr<Tokenizer>> FindTokenizer(const fs::path& source,
                                                 const ConvertOptions& options) {
  if (!options.tokenizer.empty()) return LoadTokenizer(options.tokenizer);
  auto tokenizer = LoadTokenizer(source);
  if (!tokenizer && tokenizer.error().code == ErrorCode::kNotFound) {
    return std::unique_ptr<Tokenizer>();
  }
  return tokenizer;
}

/// Differs between changes that give different files.
std::string DescribeChanges(const ConvertChanges& changes) {
  std::string text = changes.quantize != nullptr ? changes.quantize->description : "";
  if (changes.pack_for != nullptr) text += " packed for " + IsaFamilyName(changes.pack_for->isa);
  if (const Reshape* r = changes.reshape) {
    text +=
        fmt::format(" reshaped to {} experts of {} noise {} router {} seed {} heads {}", r->experts,
                    r->experts_per_token, r->noise, r->router_std, r->seed, r->kv_heads);
  }
  return text;
}

void AddNotes(const Conversion& conversion, ConvertReport& report) {
  if (conversion.tokenizer == nullptr) {
    report.notes.push_back(
        "no tokenizer was found in the source, so the result has none and takes token ids only; "
        "--tokenizer FILE gives it one");
  } else if (!conversion.tokenizer->vocabulary().scores_are_exact) {
    report.notes.push_back(
        "the source's tokenizer.json has merges that scores cannot express: some texts will be "
        "split into other tokens than with the original file");
  }
}

}  // namespace

Format MainFormat(const TensorPlan& plan) {
  std::array<int64_t, kFormatCount> values = {};
  for (const PlannedTensor& tensor : plan.tensors) {
    if (tensor.info.shape.size() < 2 || tensor.role == TensorRole::kRouter) continue;
    values[static_cast<size_t>(tensor.info.format)] += tensor.info.values();
  }
  return static_cast<Format>(std::max_element(values.begin(), values.end()) - values.begin());
}

Status CheckRoom(const fs::path& folder, uint64_t bytes) {
  std::error_code error;
  const auto space = fs::space(folder.empty() ? fs::path(".") : folder, error);
  if (error || space.available >= bytes) return {};  // unknown room is tried
  return Err(ErrorCode::kIo, "{}: {} are needed and {} are free",
             folder.empty() ? "." : folder.string(), HumanBytes(bytes),
             HumanBytes(space.available));
}

TensorPump::TensorPump(const Conversion& conversion, ThreadPool& pool, uint64_t total_bytes)
    : streamer_(*conversion.source.tensors, pool,
                conversion.quantize ? Encoding::kSearched : Encoding::kPlain,
                conversion.quantize ? conversion.quantize->importance.get() : nullptr),
      progress_(std::string(conversion.activity), total_bytes, Progress::Unit::kBytes,
                conversion.options.show_progress),
      stop_(conversion.options.stop) {}

Status TensorPump::Send(const PlannedTensor& tensor, TensorStreamer::Sink append) {
  return streamer_.Stream(tensor, [&](std::span<const std::byte> bytes) -> Status {
    if (stop_ != nullptr && stop_->load(std::memory_order_relaxed)) {
      return Err(ErrorCode::kCancelled, "stopped; what is done is kept, --resume continues it");
    }
    OCTET_TRY(append(bytes));
    done_ += bytes.size();
    progress_.Update(done_, tensor.info.name);
    return {};
  });
}

Result<ConvertReport> ConvertCheckpoint(const fs::path& source, const fs::path& destination,
                                        const ConvertOptions& options,
                                        const ConvertChanges& changes) {
  std::error_code ignored;
  if (fs::equivalent(source, destination, ignored) && fs::is_directory(source, ignored)) {
    return Err(ErrorCode::kInvalidArgument, "{}: is both source and destination",
               destination.string());
  }
  ConvertSource opened;
  OCTET_ASSIGN(opened.checkpoint, OpenCheckpoint(source));
  OCTET_ASSIGN(opened.tokenizer, FindTokenizer(source, options));
  if (changes.quantize != nullptr) opened.activity = "quantising";
  if (changes.pack_for != nullptr) opened.activity = "packing";
  if (changes.reshape != nullptr) {
    OCTET_ASSIGN(ReshapedCheckpoint reshaped,
                 ReshapeCheckpoint(std::move(opened.checkpoint), *changes.reshape));
    opened.checkpoint = std::move(reshaped.checkpoint);
    opened.config = std::move(reshaped.config);
  }
  return ConvertOpened(std::move(opened), destination, options, changes);
}

Result<ConvertReport> ConvertOpened(ConvertSource source, const fs::path& destination,
                                    const ConvertOptions& options, const ConvertChanges& changes) {
  if (destination.empty()) {
    return Err(ErrorCode::kInvalidArgument, "no destination was given");
  }
  if (options.max_shard_bytes == 0) {
    return Err(ErrorCode::kInvalidArgument, "a shard of at most 0 bytes holds nothing");
  }
  if (!source.config) {
    OCTET_ASSIGN(source.config, ReadModelConfig(source.checkpoint));
  }
  const bool to_gguf = WritesGguf(destination, options.target);
  const fs::path named = WithName(destination);
  ConvertJob job(source.checkpoint.path, named, options, DescribeChanges(changes));
  Conversion conversion{options,
                        named,
                        std::move(source.checkpoint),
                        *std::move(source.config),
                        changes.quantize,
                        changes.pack_for,
                        std::move(source.tokenizer),
                        source.activity,
                        std::move(job),
                        ThreadPool(options.threads),
                        {}};
  AddNotes(conversion, conversion.report);
  Status status = to_gguf ? WriteGgufModel(conversion) : WriteHfModel(conversion);
  if (!status) {
    const ErrorCode code = status.error().code;
    // After anything else the same attempt would fail again.
    const bool can_continue = code == ErrorCode::kCancelled || code == ErrorCode::kIo;
    if (!can_continue) conversion.job.Discard();
    return tl::unexpected<Error>(std::move(status).error());
  }
  return std::move(conversion.report);
}

}  // namespace octet
