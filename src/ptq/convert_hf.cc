// A checkpoint as a Hugging Face folder: config.json, safetensors, tokenizer files.
#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/f16.h"
#include "base/file.h"
#include "io/safetensors_writer.h"
#include "ptq/conversion.h"
#include "ptq/model_metadata.h"

namespace octet {
namespace {

namespace fs = std::filesystem;

/// What belongs to a tokenizer in a Hugging Face folder.
constexpr std::array<const char*, 7> kTokenizerFiles = {
    "tokenizer.model",   "tokenizer.json",      "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja", "generation_config.json"};

bool IsNorm(TensorRole role) {
  return role == TensorRole::kAttnNorm || role == TensorRole::kFfnNorm ||
         role == TensorRole::kFinalNorm;
}

/// Chooses formats; norms and routers that a GGUF widened get their own narrower type back.
class HfFormats {
 public:
  HfFormats(const fs::path& source, ConvertType type) : source_(source), type_(type) {}

  void NarrowNorms(Format format) { norms_ = format; }
  void NarrowRouters(Format format) { routers_ = format; }
  bool decoded_blocks() const { return decoded_blocks_; }

  Result<Format> Choose(const PlannedTensor& tensor, Format source) {
    switch (type_) {
      case ConvertType::kF32:
        return Format::kF32;
      case ConvertType::kF16:
        return Format::kF16;
      case ConvertType::kBf16:
        return Format::kBf16;
      case ConvertType::kQ8_0:
        return Err(ErrorCode::kInvalidArgument,
                   "safetensors holds no Q8_0 blocks; choose bf16, f16 or f32, or write a .gguf");
      case ConvertType::kDefault:
      case ConvertType::kKeep:
        break;
    }
    if (Info(source).block_values != 1) return ChooseForBlocks(tensor, source);
    if (source == Format::kF32 && IsNorm(tensor.role) && norms_) return *norms_;
    if (source == Format::kF32 && tensor.role == TensorRole::kRouter && routers_) return *routers_;
    return source;
  }

 private:
  Result<Format> ChooseForBlocks(const PlannedTensor& tensor, Format source) {
    if (type_ == ConvertType::kKeep) {
      return Err(ErrorCode::kInvalidArgument,
                 "{}: {} is {}, whose blocks safetensors cannot hold; choose --type bf16, f16 or "
                 "f32 to decode it, or write a .gguf to keep it",
                 source_.string(), tensor.info.name, Info(source).name);
    }
    decoded_blocks_ = true;
    return Format::kBf16;
  }

  const fs::path& source_;
  ConvertType type_;
  std::optional<Format> norms_, routers_;
  bool decoded_blocks_ = false;
};

bool IsExact(float value, Format format) {
  const float rounded = format == Format::kF16 ? ToFloat(ToF16(value)) : ToFloat(ToBf16(value));
  return std::bit_cast<uint32_t>(rounded) == std::bit_cast<uint32_t>(value);
}

/// True when each F32 value of the tensors that `is_one` picks is one of the narrower format's.
template <class Predicate>
Result<bool> AllExact(const TensorSource& source, const TensorPlan& plan, Format format,
                      Predicate is_one) {
  for (const PlannedTensor& tensor : plan.tensors) {
    if (!is_one(tensor.role)) continue;
    const TensorInfo& info = *tensor.slices.front().info;
    if (info.format != Format::kF32) continue;
    OCTET_ASSIGN(const std::span<const std::byte> data, source.Data(info));
    std::vector<float> values(data.size() / sizeof(float));
    Info(Format::kF32).decode(data.data(), static_cast<int64_t>(values.size()), values.data());
    for (const float value : values) {
      if (!IsExact(value, format)) return false;
    }
  }
  return true;
}

Result<TensorPlan> Plan(Conversion& conversion, HfFormats& formats) {
  auto plan_now = [&] {
    return PlanTensors(
        conversion.source, conversion.config, Naming::kHfSplit,
        [&](const PlannedTensor& tensor, Format source) { return formats.Choose(tensor, source); });
  };
  OCTET_ASSIGN(TensorPlan plan, plan_now());
  const Format main = MainFormat(plan);
  if (conversion.source.kind != CheckpointKind::kGguf || main == Format::kF32) return plan;
  const TensorSource& source = *conversion.source.tensors;
  OCTET_ASSIGN(const bool norms, AllExact(source, plan, main, IsNorm));
  OCTET_ASSIGN(const bool routers,
               AllExact(source, plan, main, [](TensorRole r) { return r == TensorRole::kRouter; }));
  if (norms) formats.NarrowNorms(main);
  if (routers) formats.NarrowRouters(main);
  return plan_now();
}

/// Files of an older model that --force may remove; with anything else in it, a folder stays.
bool IsModelFile(const std::string& name) {
  const bool is_weights = name.starts_with("model") && (name.ends_with(".safetensors") ||
                                                        name.ends_with(".safetensors.index.json"));
  return is_weights || name == "config.json" ||
         std::find(kTokenizerFiles.begin(), kTokenizerFiles.end(), name) != kTokenizerFiles.end();
}

Status CheckDestination(const fs::path& folder, bool force) {
  std::error_code error;
  if (!fs::exists(folder, error) || fs::is_empty(folder, error)) return {};
  if (!fs::is_directory(folder, error)) {
    return Err(ErrorCode::kInvalidArgument,
               "{}: is a file, a Hugging Face model is a folder (a name ending in .gguf asks for "
               "GGUF)",
               folder.string());
  }
  if (!force) {
    return Err(ErrorCode::kInvalidArgument, "{}: exists already; --force replaces it",
               folder.string());
  }
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file(error) && IsModelFile(name)) continue;
    return Err(ErrorCode::kInvalidArgument,
               "{}: holds {}, which no conversion writes, so it is not replaced; choose another "
               "folder",
               folder.string(), name);
  }
  return {};
}

Status WriteJson(const fs::path& path, const nlohmann::ordered_json& json) {
  return WriteFileAtomically(
      path, json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

/// Where tokenizer files can be copied from: a folder, or nothing for a GGUF.
fs::path TokenizerFolder(const Conversion& conversion) {
  const fs::path& chosen = conversion.options.tokenizer;
  if (chosen.empty()) {
    return conversion.source.kind == CheckpointKind::kGguf ? fs::path() : conversion.source.path;
  }
  std::error_code ignored;
  return fs::is_directory(chosen, ignored) ? chosen : fs::path();
}

Status WriteTokenizer(const Conversion& conversion, const fs::path& folder) {
  std::error_code error;
  if (const fs::path from = TokenizerFolder(conversion); !from.empty()) {
    for (const char* name : kTokenizerFiles) {
      if (!fs::exists(from / name, error)) continue;
      OCTET_ASSIGN(const std::string content, ReadTextFile(from / name));
      OCTET_TRY(WriteFileAtomically(folder / name, content));
    }
  }
  if (conversion.tokenizer == nullptr) return {};
  const Vocabulary& vocabulary = conversion.tokenizer->vocabulary();
  if (!fs::exists(folder / "tokenizer.model", error) &&
      !fs::exists(folder / "tokenizer.json", error)) {
    OCTET_TRY(WriteFileAtomically(folder / "tokenizer.model", SentencePieceModel(vocabulary)));
  }
  if (!fs::exists(folder / "tokenizer_config.json", error)) {
    OCTET_TRY(WriteJson(folder / "tokenizer_config.json", HfTokenizerConfigOf(vocabulary)));
  }
  return {};
}

Status WriteConfig(const Conversion& conversion, const TensorPlan& plan, const fs::path& folder) {
  const std::string_view dtype = HfDtypeName(MainFormat(plan));
  if (conversion.source.kind != CheckpointKind::kHuggingFace) {
    const Tokenizer* tokenizer = conversion.tokenizer.get();
    return WriteJson(folder / "config.json",
                     HfConfigOf(conversion.config,
                                tokenizer == nullptr ? nullptr : &tokenizer->vocabulary(), dtype));
  }
  nlohmann::ordered_json config = conversion.source.config;
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = dtype;
  return WriteJson(folder / "config.json", config);
}

/// The finished folder takes its name; a replaced one goes just before.
Status Publish(const fs::path& staged, const fs::path& destination) {
  std::error_code error;
  fs::remove_all(destination, error);
  if (!error) fs::rename(staged, destination, error);
  if (error) {
    return Err(ErrorCode::kIo, "{}: cannot be given its name ({}); the result is in {}",
               destination.string(), error.message(), staged.string());
  }
  return {};
}

Status SendAll(Conversion& conversion, const TensorPlan& plan, const fs::path& staged) {
  std::vector<TensorInfo> infos;
  for (const PlannedTensor& tensor : plan.tensors) infos.push_back(tensor.info);
  SafetensorsWriterOptions options;
  options.max_shard_bytes = conversion.options.max_shard_bytes;
  options.resume_key = conversion.job.key();
  OCTET_ASSIGN(SafetensorsWriter writer,
               SafetensorsWriter::Create(staged, std::move(infos), options));
  OCTET_TRY(CheckRoom(staged, writer.bytes_total() - writer.bytes_done()));
  conversion.report.resumed_bytes = writer.bytes_done();
  TensorPump pump(conversion, conversion.pool, writer.bytes_total());
  pump.Skip(writer.bytes_done());
  for (size_t i = writer.tensors_done(); i < plan.tensors.size(); ++i) {
    OCTET_TRY(pump.Send(plan.tensors[i],
                        [&](std::span<const std::byte> bytes) { return writer.Append(bytes); }));
  }
  OCTET_TRY(writer.Commit());
  pump.Finish();
  return {};
}

}  // namespace

Status WriteHfModel(Conversion& conversion) {
  const fs::path& destination = conversion.destination;
  const fs::path staged = AtomicFileWriter::PartialPath(destination);
  HfFormats formats(conversion.source.path, conversion.options.type);
  OCTET_ASSIGN(const TensorPlan plan, Plan(conversion, formats));
  if (formats.decoded_blocks()) {
    conversion.report.notes.push_back(
        "the source's quantised blocks were decoded to BF16; --type f32 or f16 chooses otherwise");
  }
  OCTET_TRY(CheckDestination(destination, conversion.options.force));
  OCTET_TRY(conversion.job.Begin({staged}));
  std::error_code error;
  fs::create_directories(staged, error);
  if (error) {
    return Err(ErrorCode::kIo, "{}: cannot make the folder: {}", staged.string(), error.message());
  }
  OCTET_TRY(WriteTokenizer(conversion, staged));
  OCTET_TRY(WriteConfig(conversion, plan, staged));
  OCTET_TRY(SendAll(conversion, plan, staged));
  OCTET_TRY(Publish(staged, destination));
  conversion.job.End();
  conversion.report.tensors = plan.tensors.size();
  for (const auto& entry : fs::directory_iterator(destination, error)) {
    conversion.report.files.push_back(entry.path());
    conversion.report.bytes += entry.file_size(error);
  }
  std::sort(conversion.report.files.begin(), conversion.report.files.end());
  return {};
}

}  // namespace octet
