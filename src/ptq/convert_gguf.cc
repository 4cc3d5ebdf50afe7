// A checkpoint as GGUF, one file or a split set.
#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "io/gguf_split.h"
#include "io/gguf_writer.h"
#include "model/packing.h"
#include "ptq/conversion.h"
#include "ptq/model_metadata.h"
#include "ptq/tensor_packer.h"

namespace octet {
namespace {

namespace fs = std::filesystem;

/// Rows that are no multiple of the blocks stay F16, as in llama.cpp.
Result<Format> GgufFormat(ConvertType type, const PlannedTensor& tensor, Format source) {
  if (AlwaysF32InGguf(tensor.role)) return Format::kF32;
  switch (type) {
    case ConvertType::kDefault:
    case ConvertType::kKeep:
      return source;
    case ConvertType::kF32:
      return Format::kF32;
    case ConvertType::kF16:
      return Format::kF16;
    case ConvertType::kBf16:
      return Format::kBf16;
    case ConvertType::kQ8_0:
      return tensor.info.shape.back() % Info(Format::kQ8_0).block_values == 0 ? Format::kQ8_0
                                                                              : Format::kF16;
  }
  return source;
}

std::string ModelName(const fs::path& source) {
  auto path = source.lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return (path.extension() == ".gguf" ? path.stem() : path.filename()).string();
}

Result<GgufMetadata> Metadata(const Conversion& conversion, const TensorPlan& plan) {
  GgufMetadata metadata;
  const bool keeps_types = conversion.options.type == ConvertType::kDefault ||
                           conversion.options.type == ConvertType::kKeep;
  const GgufMetadata* old = conversion.source.gguf;
  if (old == nullptr) {
    metadata =
        GgufMetadataOf(conversion.config, ModelName(conversion.source.path), MainFormat(plan));
  } else {
    metadata = *old;
    std::erase_if(metadata.values(), [&](const auto& entry) {
      return entry.first.starts_with("split.") ||
             (!conversion.options.tokenizer.empty() && entry.first.starts_with("tokenizer."));
    });
    if (!keeps_types) {
      metadata.Set("general.file_type", GgufFileType(MainFormat(plan)), GgufType::kUint32);
    }
  }
  const bool has_vocabulary = metadata.values().contains("tokenizer.ggml.model");
  if (conversion.quantize != nullptr) {
    metadata.Set("general.file_type", uint64_t{conversion.quantize->file_type}, GgufType::kUint32);
    metadata.Set("general.quantization_version", uint64_t{2}, GgufType::kUint32);
    if (const ImportanceMatrix* importance = conversion.quantize->importance.get()) {
      metadata.Set("quantize.imatrix.file", conversion.quantize->importance_file,
                   GgufType::kString);
      metadata.Set("quantize.imatrix.entries_count", uint64_t{importance->entries.size()},
                   GgufType::kUint32);
      metadata.Set("quantize.imatrix.chunks_count", static_cast<uint64_t>(importance->chunks),
                   GgufType::kUint32);
      if (!importance->datasets.empty())
        metadata.Set("quantize.imatrix.dataset", importance->datasets.front(), GgufType::kString);
    }
  }
  if (conversion.tokenizer != nullptr && !has_vocabulary) {
    OCTET_TRY(AddGgufVocabulary(conversion.tokenizer->vocabulary(), conversion.config.vocab_size,
                                metadata));
  } else if (!has_vocabulary) {  // what other programs expect instead of nothing
    metadata.Set("tokenizer.ggml.model", std::string("no_vocab"), GgufType::kString);
  }
  return metadata;
}

struct PartPlan {
  fs::path path;
  size_t begin = 0, end = 0;  // of the plan's tensors
};

/// At most `max_bytes` of tensors a part (0: no limit), except that a tensor is never cut.
std::vector<PartPlan> PlanParts(const fs::path& destination, const TensorPlan& plan,
                                uint64_t max_bytes) {
  std::vector<PartPlan> parts(1);
  uint64_t bytes = 0;
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const uint64_t size = GgufPaddedBytes(plan.tensors[i].info.bytes);  // packed: one part
    if (max_bytes > 0 && bytes > 0 && bytes + size > max_bytes) {
      parts.push_back({{}, i, i});
      bytes = 0;
    }
    bytes += size;
    parts.back().end = i + 1;
  }
  const auto prefix = destination.parent_path() / destination.stem();
  const gguf::SplitName name{prefix, 1, static_cast<int>(parts.size())};
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i].path = parts.size() == 1 ? destination : name.Path(static_cast<int>(i) + 1);
  }
  return parts;
}

/// The first part has all metadata, the others only their number.
GgufMetadata PartMetadata(const GgufMetadata& whole, size_t part, size_t parts, size_t tensors) {
  GgufMetadata metadata;
  if (part == 0) metadata = whole;
  if (parts == 1) return metadata;
  metadata.Set("split.no", uint64_t{part}, GgufType::kUint16);
  metadata.Set("split.count", uint64_t{parts}, GgufType::kUint16);
  metadata.Set("split.tensors.count", static_cast<int64_t>(tensors), GgufType::kInt32);
  return metadata;
}

Status CheckDestination(const std::vector<PartPlan>& parts, bool force) {
  for (const PartPlan& part : parts) {
    std::error_code ignored;
    if (fs::is_directory(part.path, ignored)) {
      return Err(ErrorCode::kInvalidArgument, "{}: is a folder, a GGUF is a file",
                 part.path.string());
    }
    if (!force && fs::exists(part.path, ignored)) {
      return Err(ErrorCode::kInvalidArgument, "{}: exists already; --force replaces it",
                 part.path.string());
    }
  }
  return {};
}

void AddTypeNotes(const TensorPlan& plan, ConvertType type, ConvertReport& report) {
  if (type != ConvertType::kQ8_0) return;
  const auto narrow = std::count_if(plan.tensors.begin(), plan.tensors.end(),
                                    [](const auto& t) { return t.info.format == Format::kF16; });
  if (narrow == 0) return;
  report.notes.push_back(fmt::format(
      "{} tensors are F16, because their rows are no multiple of Q8_0's 32 values", narrow));
}

class GgufModelWriter {
 public:
  GgufModelWriter(Conversion& conversion, TensorPlan plan, GgufMetadata metadata)
      : conversion_(conversion),
        plan_(std::move(plan)),
        metadata_(std::move(metadata)),
        parts_(PlanParts(conversion.destination, plan_, conversion.options.max_part_bytes)),
        packer_(conversion.pool) {}

  Status Write() {
    OCTET_TRY(CheckDestination(parts_, conversion_.options.force));
    std::vector<fs::path> partials;
    for (const PartPlan& part : parts_)
      partials.push_back(AtomicFileWriter::PartialPath(part.path));
    OCTET_TRY(CheckPartRoom(partials));
    OCTET_TRY(conversion_.job.Begin(partials));
    OCTET_TRY(OpenWriters());
    OCTET_TRY(SendTensors());
    for (GgufWriter& writer : writers_) OCTET_TRY(writer.Sync());
    // The first part is what a reader needs, so it appears last.
    for (size_t i = writers_.size(); i-- > 0;) OCTET_TRY(writers_[i].Commit());
    conversion_.job.End();
    for (const PartPlan& part : parts_) {
      std::error_code ignored;
      conversion_.report.files.push_back(part.path);
      conversion_.report.bytes += fs::file_size(part.path, ignored);
    }
    conversion_.report.tensors = plan_.tensors.size();
    return {};
  }

 private:
  Status CheckPartRoom(const std::vector<fs::path>& partials) {
    for (const PlannedTensor& tensor : plan_.tensors) total_bytes_ += tensor.info.bytes;
    uint64_t there = 0;
    for (const fs::path& partial : partials) {
      std::error_code error;
      const uint64_t size = fs::file_size(partial, error);
      if (!error) there += size;
    }
    return CheckRoom(conversion_.destination.parent_path(),
                     total_bytes_ - std::min(total_bytes_, there));
  }

  Status OpenWriters() {
    for (size_t i = 0; i < parts_.size(); ++i) {
      std::vector<TensorInfo> infos;
      for (size_t t = parts_[i].begin; t < parts_[i].end; ++t) {
        infos.push_back(plan_.tensors[t].info);
      }
      const auto metadata = PartMetadata(metadata_, i, parts_.size(), plan_.tensors.size());
      OCTET_ASSIGN(GgufWriter writer, GgufWriter::Create(parts_[i].path, metadata, std::move(infos),
                                                         conversion_.job.resumes()));
      for (size_t t = 0; t < writer.tensors_done(); ++t) {
        resumed_bytes_ += writer.tensors()[t].bytes;
      }
      writers_.push_back(std::move(writer));
    }
    conversion_.report.resumed_bytes = resumed_bytes_;
    return {};
  }

  Status SendTensors() {
    TensorPump pump(conversion_, conversion_.pool, total_bytes_);
    pump.Skip(resumed_bytes_);
    for (size_t i = 0; i < parts_.size(); ++i) {
      for (size_t t = parts_[i].begin + writers_[i].tensors_done(); t < parts_[i].end; ++t) {
        OCTET_TRY(SendTensor(pump, plan_.tensors[t], writers_[i]));
      }
    }
    pump.Finish();
    return {};
  }

  Status SendTensor(TensorPump& pump, const PlannedTensor& tensor, GgufWriter& writer) {
    if (tensor.info.layout == Layout::kRowMajor) {
      return pump.Send(tensor,
                       [&](std::span<const std::byte> bytes) { return writer.Append(bytes); });
    }
    OCTET_TRY(packer_.Begin(tensor.info));
    OCTET_TRY(pump.Send(tensor, [&](std::span<const std::byte> rows) -> Status {
      packer_.Add(rows);
      return {};
    }));
    return writer.Append(packer_.Finish());
  }

  Conversion& conversion_;
  TensorPlan plan_;
  GgufMetadata metadata_;
  std::vector<PartPlan> parts_;
  std::vector<GgufWriter> writers_;
  TensorPacker packer_;
  uint64_t total_bytes_ = 0, resumed_bytes_ = 0;
};

/// Gives matrices their layouts, and the metadata what makes other programs refuse the file rather
/// than misread it, and this one know whether it can read it.
Status PlanPacking(const KernelTable& kernels, TensorPlan& plan, GgufMetadata& metadata) {
  std::vector<std::string> layouts;
  for (PlannedTensor& tensor : plan.tensors) {
    PlanLayout(tensor.role, kernels, tensor.info);
    const std::string name(LayoutName(tensor.info.layout));
    const bool is_known = std::find(layouts.begin(), layouts.end(), name) != layouts.end();
    if (tensor.info.layout != Layout::kRowMajor && !is_known) layouts.push_back(name);
  }
  if (layouts.empty()) {
    return Err(ErrorCode::kUnsupported,
               "no matrix of this model has a layout that is faster here ({}) than the order of "
               "rows: the model can be used as it is",
               IsaFamilyName(kernels.isa));
  }
  const std::string* architecture = metadata.String("general.architecture");
  metadata.Set(kPackedArchitectureKey, architecture != nullptr ? *architecture : "llama",
               GgufType::kString);
  metadata.Set("general.architecture", std::string(kPackedArchitecture), GgufType::kString);
  metadata.Set(kPackedLayoutsKey, std::move(layouts), GgufType::kString);
  metadata.Set(kPackedIsaKey, IsaFamilyName(kernels.isa), GgufType::kString);
  metadata.Set(kPackedVersionKey, kPackedVersion, GgufType::kUint32);
  return {};
}

}  // namespace

Status WriteGgufModel(Conversion& conversion) {
  const ConvertType type = conversion.options.type;
  OCTET_ASSIGN(TensorPlan plan,
               PlanTensors(conversion.source, conversion.config,
                           conversion.pack_for ? Naming::kGgufSplit : Naming::kGgufMerged,
                           [&](const PlannedTensor& tensor, Format source) -> Result<Format> {
                             if (conversion.quantize == nullptr)
                               return GgufFormat(type, tensor, source);
                             return conversion.quantize->Choose(tensor, conversion.config);
                           }));
  OCTET_ASSIGN(GgufMetadata metadata, Metadata(conversion, plan));
  AddTypeNotes(plan, type, conversion.report);
  if (conversion.pack_for != nullptr) OCTET_TRY(PlanPacking(*conversion.pack_for, plan, metadata));
  return GgufModelWriter(conversion, std::move(plan), std::move(metadata)).Write();
}

}  // namespace octet
