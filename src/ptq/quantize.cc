#include "ptq/quantize.h"

#include <algorithm>

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
  convert.target = ConvertTarget::kGguf;
  convert.max_part_bytes = options.max_part_bytes;
  convert.tokenizer = options.tokenizer;
  convert.resume = options.resume;
  convert.force = options.force;
  convert.show_progress = options.show_progress;
  convert.threads = options.threads;
  convert.stop = options.stop;
  return convert;
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

}  // namespace

Format QuantizeChoice::Choose(const PlannedTensor& tensor, const ModelConfig& config) const {
  return FormatChooser(recipe, changes, config, /*has_importance=*/false)
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
    AddTensors(plan, report);
    AddFallbackNote(plan, Recipes()[static_cast<size_t>(choice.recipe)].base, report);
  }
  if (options.dry_run) return report;
  OCTET_ASSIGN(report.written,
               ConvertCheckpoint(source, destination, OptionsOfConversion(options), {&choice}));
  report.notes.insert(report.notes.end(), report.written.notes.begin(), report.written.notes.end());
  return report;
}

}  // namespace octet
