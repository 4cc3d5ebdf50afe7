#include "octet/inspect.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "api/guard.h"
#include "api/machine_memory.h"
#include "io/checkpoint.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/packing.h"
#include "model/tensor_specs.h"
#include "octet/default_model.h"
#include "quant/format.h"
#include "text/chat_template.h"
#include "text/gguf_vocabulary.h"
#include "text/tokenizer.h"

namespace octet {
namespace {

constexpr int64_t kStepTokens = 512;  // rows of the step that working memory is estimated for
constexpr int64_t kMaxContext = int64_t{1} << 28;

std::string_view KindName(const Checkpoint& checkpoint) {
  if (IsPacked(checkpoint)) return "packed";
  switch (checkpoint.kind) {
    case CheckpointKind::kHuggingFace:
      return "huggingface";
    case CheckpointKind::kMistral:
      return "mistral";
    case CheckpointKind::kGguf:
      break;
  }
  return "gguf";
}

void FillConfig(const ModelConfig& config, ModelReport& report) {
  const ParameterCount count = CountParameters(config);
  report.architecture = config.architecture;
  report.parameters = count.total;
  report.active_parameters = count.active;
  report.n_layers = config.n_layers;
  report.d_model = config.d_model;
  report.d_ff = config.d_ff;
  report.n_heads = config.n_heads;
  report.n_kv_heads = config.n_kv_heads;
  report.head_dim = config.head_dim;
  report.n_experts = config.n_experts;
  report.n_experts_per_token = config.n_experts_per_token;
  report.vocab_size = config.vocab_size;
  report.trained_context = config.context_len;
  report.sliding_window = config.sliding_window;
  report.rope_theta = config.rope_theta;
  report.tied_embeddings = config.tied_embeddings;
}

// The tensors the files' headers list.
void FillTensors(const Checkpoint& checkpoint, ModelReport& report) {
  std::map<std::string_view, uint64_t> bytes_of_type;
  for (const TensorInfo& info : checkpoint.tensors->tensors()) {
    const std::string_view type = Info(info.format).name;
    const bool whole = checkpoint.tensors->Data(info).has_value();
    report.tensors.push_back({info.name, std::string(type), std::string(LayoutName(info.layout)),
                              info.shape, info.bytes,
                              whole ? TensorState::kPresent : TensorState::kTruncated});
    report.tensor_bytes += info.bytes;
    report.n_truncated_tensors += whole ? 0 : 1;
    bytes_of_type[type] += info.bytes;
  }
  uint64_t most = 0;
  for (const auto& [type, bytes] : bytes_of_type) {
    if (bytes > most) report.main_type = type;
    most = std::max(most, bytes);
  }
  for (const SkippedTensor& skipped : checkpoint.skipped_tensors) {
    report.skipped_tensors.push_back(skipped.name + ": " + skipped.why);
  }
}

Naming NamingOf(const Checkpoint& checkpoint, const ModelConfig& config) {
  if (const auto naming = RecogniseNaming(checkpoint, config)) return *naming;
  switch (checkpoint.kind) {  // too little is there to tell: the usual one
    case CheckpointKind::kHuggingFace:
      return Naming::kHfSplit;
    case CheckpointKind::kMistral:
      return Naming::kMistral;
    case CheckpointKind::kGguf:
      break;
  }
  return Naming::kGgufMerged;
}

// Compares what is there with what the configuration asks for. Of missing tensors, an index knows
// the names for certain, the naming otherwise.
void FillMissing(const Checkpoint& checkpoint, const ModelConfig& config, ModelReport& report) {
  const Naming naming = NamingOf(checkpoint, config);
  std::map<std::string, std::vector<int64_t>> expected;
  std::vector<std::string> missing = checkpoint.missing_tensors;
  for (const TensorSpec& spec : TensorSpecs(config)) {
    TensorPlace place = PlaceOf(spec, config, naming);
    if (!expected.emplace(place.name, place.file_shape).second) continue;  // several in one tensor
    const TensorInfo* const info = checkpoint.tensors->Find(place.name);
    if (info == nullptr) {
      if (checkpoint.missing_tensors.empty()) missing.push_back(place.name);
    } else if (info->shape != place.file_shape) {
      report.problems.push_back(fmt::format("{} is {}, expected {}", place.name,
                                            ShapeString(info->shape),
                                            ShapeString(place.file_shape)));
    }
  }
  for (std::string& name : missing) {
    const auto found = expected.find(name);
    auto shape = found == expected.end() ? std::vector<int64_t>() : found->second;
    report.tensors.push_back({std::move(name), "", "", std::move(shape), 0, TensorState::kMissing});
  }
  report.n_missing_tensors = static_cast<int64_t>(missing.size());
  report.missing_files = checkpoint.missing_files;
}

void FillFiles(const Checkpoint& checkpoint, ModelReport& report) {
  for (const auto& file : checkpoint.files) {
    struct stat info = {};
    if (stat(file.c_str(), &info) != 0) continue;
    ++report.n_files;
    report.file_bytes += static_cast<uint64_t>(info.st_size);
    report.disk_bytes += static_cast<uint64_t>(info.st_blocks) * 512;  // POSIX's unit
  }
}

Result<std::unique_ptr<Tokenizer>> OpenTokenizer(const Checkpoint& checkpoint, bool is_default) {
  if (!is_default) return LoadTokenizer(checkpoint.path);
  OCTET_ASSIGN(Vocabulary vocabulary,
               VocabularyFromGguf(*checkpoint.gguf, checkpoint.path.string()));
  return TokenizerFromVocabulary(std::move(vocabulary), checkpoint.path.string());
}

void FillTokenizer(const Checkpoint& checkpoint, bool is_default, ModelReport& report) {
  const auto tokenizer = OpenTokenizer(checkpoint, is_default);
  if (!tokenizer) {
    report.tokenizer_error = tokenizer.error().message;
    return;
  }
  report.tokenizer = checkpoint.kind == CheckpointKind::kGguf ? "gguf" : "tokenizer.model";
  std::error_code ignored;  // the order LoadTokenizer looks in
  if (!std::filesystem::exists(checkpoint.path / "tokenizer.model", ignored) &&
      std::filesystem::exists(checkpoint.path / "tokenizer.json", ignored))
    report.tokenizer = "tokenizer.json";
  const Vocabulary& vocabulary = (*tokenizer)->vocabulary();
  report.tokenizer_vocab = static_cast<int64_t>(vocabulary.tokens.size());
  report.has_chat_template = !vocabulary.chat_template.empty();
  report.chat_format = ChatFormatName(RecogniseChatFormat(vocabulary));
}

// All weights with the matrices in `format`; memory and fit are left to the caller.
FormatReport Weights(const ModelConfig& config, Format format) {
  FormatReport report;
  report.name = Info(format).name;
  for (const TensorSpec& spec : TensorSpecs(config)) {
    int64_t values = 1;
    for (const int64_t dim : spec.shape) values *= dim;
    const bool is_small = spec.shape.size() < 2 || spec.role == TensorRole::kRouter;
    const bool has_blocks = spec.shape.back() % Info(format).block_values == 0;
    const Format kept = is_small ? Format::kF32 : has_blocks ? format : Format::kF16;
    report.weight_bytes += static_cast<uint64_t>(FormatBytes(kept, values));
    report.n_kept_f16 += !is_small && !has_blocks ? 1 : 0;
  }
  return report;
}

// Floats that one row of a step needs at its peak: the residual stream and its normed copy, then
// either attention (q, k, v, its output) or the feed-forward (per expert: gathered input, gate, up,
// product, output).
uint64_t WorkingBytes(const ModelConfig& config) {
  const int64_t experts = std::max<int64_t>(1, config.n_experts_per_token);
  const int64_t attention = 2 * config.q_dim() + 2 * config.kv_dim() + config.d_model;
  const int64_t feed_forward = experts * (3 * config.d_ff + 2 * config.d_model);
  const int64_t row = 3 * config.d_model + std::max(attention, feed_forward);
  return static_cast<uint64_t>(4 * (kStepTokens * row + config.vocab_size));
}

// A configuration may ask for more than 64 bits; half of them leaves room for sums.
uint64_t Saturated(int64_t a, int64_t b) {
  constexpr int64_t kMost = int64_t{1} << 62;
  int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) product = kMost;
  return static_cast<uint64_t>(std::min(product, kMost));
}

void FillMemory(const ModelConfig& config, ModelReport& report) {
  for (const auto& [name, format] :
       {std::pair("f16", Format::kF16), std::pair("f32", Format::kF32),
        std::pair("bf16", Format::kBf16), std::pair("q8_0", Format::kQ8_0)}) {
    if (config.head_dim % Info(format).block_values != 0) continue;
    report.kv.push_back({name, KvCache::BytesPerToken(config, format)});
  }
  report.working_bytes = WorkingBytes(config);
  report.machine_memory = MachineMemory();
  report.kv_bytes = Saturated(report.kv.front().bytes_per_token, report.context);
  const uint64_t beside = report.kv_bytes + report.working_bytes;
  const auto add = [&](FormatReport format) {
    format.bits_per_weight =
        8 * static_cast<double>(format.weight_bytes) / static_cast<double>(report.parameters);
    format.memory_bytes = format.weight_bytes + beside;
    format.fits = format.memory_bytes <= report.machine_memory;
    report.formats.push_back(std::move(format));
  };
  if (!report.main_type.empty() && report.n_missing_tensors == 0) {
    FormatReport stored;
    stored.name = "stored";
    stored.weight_bytes = report.tensor_bytes;
    add(std::move(stored));
  }
  for (int i = 0; i < kFormatCount; ++i) add(Weights(config, static_cast<Format>(i)));
}

Result<ModelReport> Inspect(const InspectOptions& options) {
  if (options.context < 0 || options.context > kMaxContext) {
    return Err(ErrorCode::kInvalidArgument, "a context of {} tokens; expected 1 to {}",
               options.context, kMaxContext);
  }
  const bool is_default = options.model.empty();
  OCTET_ASSIGN(const Checkpoint checkpoint,
               is_default ? OpenCheckpointFromBytes(DefaultModelBytes(), DefaultModelName())
                          : OpenCheckpoint(options.model, OpenMode::kHeadersOnly));
  OCTET_ASSIGN(const ModelConfig config, ReadModelConfig(checkpoint));
  ModelReport report;
  report.path = is_default ? std::string(DefaultModelName()) : options.model;
  report.layout = KindName(checkpoint);
  if (const auto* isa = checkpoint.gguf ? checkpoint.gguf->String(kPackedIsaKey) : nullptr)
    report.packed_for = *isa;
  FillConfig(config, report);
  FillTensors(checkpoint, report);
  FillMissing(checkpoint, config, report);
  FillFiles(checkpoint, report);
  FillTokenizer(checkpoint, is_default, report);
  report.context = options.context > 0 ? options.context : config.context_len;
  FillMemory(config, report);
  return report;
}

}  // namespace

Result<ModelReport> InspectModel(const InspectOptions& options) {
  return Guarded([&] { return Inspect(options); });
}

}  // namespace octet
