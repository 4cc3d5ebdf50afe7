#include "ptq/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "ptq/convert.h"

namespace octet {
namespace {

namespace fs = std::filesystem;

Result<std::optional<Format>> OptionalFormat(const std::string& name, std::string_view flag) {
  if (name.empty()) return std::optional<Format>();
  const auto format = FormatFromName(name);
  if (format) return format;
  std::string names;
  for (int i = 0; i < kFormatCount; ++i) {
    if (i > 0) names += " ";
    names += Info(static_cast<Format>(i)).name;
  }
  return Err(ErrorCode::kInvalidArgument, "{}: '{}' is no format; there are {}", flag, name, names);
}

ConvertOptions OptionsOfConversion(const QuantizeOptions& options) {
  ConvertOptions convert;
  static_cast<WriteOptions&>(convert) = options;
  convert.target = ConvertTarget::kGguf;
  convert.max_part_bytes = options.max_part_bytes;
  return convert;
}

/// Differs between matrices: FNV-1a over their values.
uint64_t Fingerprint(const ImportanceMatrix& matrix) {
  uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&](const auto& values) {
    for (const std::byte b : std::as_bytes(std::span(values))) {
      hash = (hash ^ static_cast<uint64_t>(b)) * 0x100000001b3u;
    }
  };
  for (const auto& [name, entry] : matrix.entries) {
    add(name);
    add(entry.counts);
    add(entry.sum_squares);
  }
  return hash;
}

bool IsBlocks(Format format) { return Info(format).block_values > 1; }

void AddTensors(const TensorPlan& plan, QuantizeReport& report) {
  int requantised = 0;
  for (const PlannedTensor& tensor : plan.tensors) {
    const Format from = tensor.slices.front().info->format;
    report.tensors.push_back({tensor.info.name, tensor.info.shape, std::string(Info(from).name),
                              std::string(Info(tensor.info.format).name), tensor.info.bytes});
    report.values += static_cast<uint64_t>(tensor.info.values());
    report.bytes += tensor.info.bytes;
    for (const SourceSlice& slice : tensor.slices) {
      report.source_bytes +=
          static_cast<uint64_t>(FormatBytes(slice.info->format, slice.rows * slice.cols));
    }
    if (IsBlocks(from) && from != tensor.info.format) ++requantised;
  }
  if (requantised > 0) {
    report.notes.push_back(fmt::format(
        "{} tensors are quantised in the source already and lose a second time; the original "
        "weights give a better file of the same size",
        requantised));
  }
}

/// Tensors that a block recipe could not give blocks.
void AddFallbackNote(const TensorPlan& plan, Format base, QuantizeReport& report) {
  if (!IsBlocks(base)) return;
  const auto narrow = std::count_if(plan.tensors.begin(), plan.tensors.end(), [](const auto& t) {
    return t.info.format == Format::kF16 && t.info.shape.back() % 32 != 0;
  });
  if (narrow == 0) return;
  report.notes.push_back(
      fmt::format("{} tensors are F16, because their rows are no multiple of 32 values", narrow));
}

/// What the importance matrix says about the planned tensors. kInvalidArgument when it is of
/// another model.
Status CheckImportance(const ImportanceMatrix& importance, const TensorPlan& plan,
                       QuantizeReport& report) {
  int without = 0;
  std::vector<std::string> short_experts;
  for (const PlannedTensor& tensor : plan.tensors) {
    if (tensor.info.shape.size() < 2 || !IsBlocks(tensor.info.format)) continue;
    const auto matrices = static_cast<int64_t>(tensor.slices.size());
    OCTET_ASSIGN(const ImportanceEntry entry,
                 EntryFor(importance, tensor.info.name, matrices, tensor.info.shape.back()));
    if (entry.matrices == 0) ++without;
    for (int64_t m = 0; m < entry.matrices; ++m) {
      if (entry.count(m) >= kFewInputs) continue;
      short_experts.push_back(fmt::format("{}[{}] ({})", tensor.info.name, m, entry.count(m)));
    }
  }
  if (without > 0) {
    report.notes.push_back(
        fmt::format("{} quantised tensors are not in the importance matrix (embeddings never are): "
                    "their weights "
                    "all count the same",
                    without));
  }
  if (!short_experts.empty()) {
    constexpr size_t kNamed = 6;
    const size_t n = short_experts.size();
    short_experts.resize(std::min(n, kNamed));
    report.notes.push_back(fmt::format(
        "{} experts' matrices saw fewer than {} tokens and use the mean of their layer: {}{}; more "
        "text in octet imatrix helps",
        n, kFewInputs, fmt::join(short_experts, ", "), n > kNamed ? ", ..." : ""));
  }
  return {};
}

/// An override that matches nothing is a mistake in it.
Status CheckOverrides(const QuantizeOptions& options, const QuantizeChoice& choice,
                      const TensorPlan& plan) {
  for (size_t i = 0; i < options.overrides.size(); ++i) {
    const std::regex& pattern = choice.changes.overrides[i].first;
    if (std::any_of(plan.tensors.begin(), plan.tensors.end(), [&](const PlannedTensor& tensor) {
          return std::regex_search(tensor.info.name, pattern);
        }))
      continue;
    return Err(ErrorCode::kInvalidArgument,
               "override {}: no tensor's name matches; they are like {}", options.overrides[i],
               plan.tensors.back().info.name);
  }
  return {};
}

}  // namespace

Format QuantizeChoice::Choose(const PlannedTensor& tensor, const ModelConfig& config) const {
  return FormatChooser(recipe, changes, config, importance != nullptr)
      .Choose(tensor.info.name, tensor.role, tensor.layer, tensor.info.shape.back());
}

Result<QuantizeChoice> ChooseQuantisation(const QuantizeOptions& options) {
  QuantizeChoice choice;
  OCTET_ASSIGN(choice.recipe, RecipeFromName(options.type));
  OCTET_ASSIGN(choice.changes.experts, OptionalFormat(options.experts, "experts"));
  OCTET_ASSIGN(choice.changes.attention, OptionalFormat(options.attention, "attention"));
  for (const std::string& text : options.overrides) {
    OCTET_ASSIGN(auto parsed, ParseOverride(text));
    choice.changes.overrides.push_back(std::move(parsed));
  }
  const RecipeInfo& info = Recipes()[static_cast<size_t>(choice.recipe)];
  choice.file_type = info.file_type;
  choice.description =
      fmt::format("{} experts {} attention {}", info.name, options.experts, options.attention);
  for (const std::string& text : options.overrides) choice.description += " " + text;
  if (options.imatrix.empty()) return choice;
  OCTET_ASSIGN(ImportanceMatrix importance, ReadImportance(options.imatrix));
  choice.description += fmt::format(" imatrix {:x}", Fingerprint(importance));
  choice.importance = std::make_shared<const ImportanceMatrix>(std::move(importance));
  choice.importance_file = options.imatrix.filename().string();
  return choice;
}

Result<QuantizeReport> QuantizeCheckpoint(const fs::path& source, const fs::path& destination,
                                          const QuantizeOptions& options) {
  OCTET_ASSIGN(const QuantizeChoice choice, ChooseQuantisation(options));
  QuantizeReport report;
  {
    const OpenMode mode = options.dry_run ? OpenMode::kHeadersOnly : OpenMode::kFull;
    OCTET_ASSIGN(const Checkpoint checkpoint, OpenCheckpoint(source, mode));
    OCTET_ASSIGN(const ModelConfig config, ReadModelConfig(checkpoint));
    OCTET_ASSIGN(const TensorPlan plan,
                 PlanTensors(checkpoint, config, Naming::kGgufMerged,
                             [&](const PlannedTensor& tensor, Format) -> Result<Format> {
                               return choice.Choose(tensor, config);
                             }));
    OCTET_TRY(CheckOverrides(options, choice, plan));
    AddTensors(plan, report);
    if (choice.importance) OCTET_TRY(CheckImportance(*choice.importance, plan, report));
    AddFallbackNote(plan, Recipes()[static_cast<size_t>(choice.recipe)].base, report);
  }
  if (options.dry_run) return report;
  OCTET_ASSIGN(report.written,
               ConvertCheckpoint(source, destination, OptionsOfConversion(options), {&choice}));
  report.notes.insert(report.notes.end(), report.written.notes.begin(), report.written.notes.end());
  return report;
}

}  // namespace octet
