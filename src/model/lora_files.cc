// Adapters in files: Hugging Face's PEFT, and Mistral's.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "io/safetensors_writer.h"
#include "model/lora.h"

namespace octet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kPeftPrefix[] = "base_model.model.";
constexpr char kPeftConfig[] = "adapter_config.json", kPeftTensors[] = "adapter_model.safetensors";
constexpr char kMistralConfig[] = "params.json", kMistralTensors[] = "lora.safetensors";

Result<json> ReadObject(const fs::path& path) {
  OCTET_ASSIGN(json value, ReadJsonFile(path));
  if (!value.is_object()) return Err(ErrorCode::kCorrupt, "{}: not a JSON object", path.string());
  return value;
}

/// What a folder says about its adapters.
struct AdapterFiles {
  fs::path tensors;
  bool mistral = false;
  LoraOptions options;  // targets empty: to be taken from the tensors
};

Result<double> NumberOf(const json& object, const char* key, const fs::path& where) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number())
    return Err(ErrorCode::kCorrupt, "{}: expected a number \"{}\"", where.string(), key);
  return found->get<double>();
}

Status CheckPeft(const json& config, const fs::path& where) {
  if (config.value("peft_type", "LORA") != "LORA") {
    return Err(ErrorCode::kUnsupported, "{}: peft_type is {}, expected LORA", where.string(),
               config["peft_type"].dump());
  }
  const bool plain = config.value("bias", "none") == "none" &&
                     !config.value("fan_in_fan_out", false) && !config.value("use_dora", false);
  if (!plain) {
    return Err(ErrorCode::kUnsupported,
               "{}: bias, fan_in_fan_out or use_dora is set; only plain adapters are read",
               where.string());
  }
  return {};
}

Result<AdapterFiles> ReadDescription(const fs::path& path) {
  std::error_code error;
  const fs::path folder = fs::is_directory(path, error) ? path : path.parent_path();
  AdapterFiles layout;
  layout.options.targets.clear();
  if (fs::exists(folder / kPeftConfig, error)) {
    const fs::path where = folder / kPeftConfig;
    OCTET_ASSIGN(const json config, ReadObject(where));
    try {
      OCTET_TRY(CheckPeft(config, where));
      OCTET_ASSIGN(const double rank, NumberOf(config, "r", where));
      OCTET_ASSIGN(layout.options.alpha, NumberOf(config, "lora_alpha", where));
      if (config.value("use_rslora", false)) layout.options.alpha *= std::sqrt(rank);
      layout.options.rank = static_cast<int64_t>(std::clamp(rank, 0.0, 1e6));
    } catch (const json::exception& e) {
      return Err(ErrorCode::kCorrupt, "{}: {}", where.string(), e.what());
    }
    layout.tensors = folder / kPeftTensors;
    return layout;
  }
  if (fs::exists(folder / kMistralTensors, error)) {
    const fs::path where = folder / kMistralConfig;
    OCTET_ASSIGN(const json config, ReadObject(where));
    const json lora = config.value("lora", json::object());
    OCTET_ASSIGN(const double rank, NumberOf(lora, "rank", where));
    OCTET_ASSIGN(const double scaling, NumberOf(lora, "scaling", where));
    layout.options.rank = static_cast<int64_t>(std::clamp(rank, 0.0, 1e6));
    layout.options.alpha = scaling * rank;
    layout.tensors = folder / kMistralTensors;
    layout.mistral = true;
    return layout;
  }
  return Err(ErrorCode::kNotFound, "{}: neither {} (PEFT) nor {} (Mistral) is there",
             folder.string(), kPeftConfig, kMistralTensors);
}

/// The file's name of a matrix, without ".lora_A.weight".
std::string FileName(const TensorSpec& spec, const ModelConfig& config, bool mistral) {
  const std::string name =
      PlaceOf(spec, config, mistral ? Naming::kMistral : Naming::kHfSplit).name;
  return (mistral ? "" : kPeftPrefix) + name.substr(0, name.size() - std::strlen(".weight"));
}

Status ReadInto(const TensorSource& source, const std::string& name, const fs::path& where,
                std::vector<int64_t> shape, std::span<float> out) {
  const TensorInfo* info = source.Find(name);
  if (info == nullptr) {
    return Err(ErrorCode::kCorrupt, "{}: {} is missing beside its other half", where.string(),
               name);
  }
  if (info->shape != shape) {
    return Err(ErrorCode::kCorrupt, "{}: {} is {}, expected {} for this model", where.string(),
               name, ShapeString(info->shape), ShapeString(shape));
  }
  OCTET_ASSIGN(const auto bytes, source.Data(*info));
  Info(info->format).decode(bytes.data(), info->values(), out.data());
  return {};
}

}  // namespace

Result<Adapters> Adapters::Load(const fs::path& path, const ModelConfig& config) {
  OCTET_ASSIGN(AdapterFiles layout, ReadDescription(path));
  MappedTensors source;
  OCTET_TRY(AddSafetensors(source, layout.tensors, OpenMode::kFull));
  // Which matrices the file has, by the names of this model's; whatever is left over fits none.
  std::map<std::string, const TensorSpec*, std::less<>> names;
  const std::vector<TensorSpec> specs = TensorSpecs(config);
  for (const TensorSpec& spec : specs) {
    if (spec.layer < 0 || spec.shape.size() != 2) continue;
    for (const char* half : {".lora_A.weight", ".lora_B.weight"})
      names[FileName(spec, config, layout.mistral) + half] = &spec;
  }
  std::set<const TensorSpec*> present;
  std::set<std::string> targets;
  for (const TensorInfo& info : source.tensors()) {
    const auto found = names.find(info.name);
    if (found == names.end()) {
      return Err(ErrorCode::kInvalidArgument,
                 "{}: {} fits no matrix of this model; the adapter is for another model",
                 layout.tensors.string(), info.name);
    }
    present.insert(found->second);
    const std::string hf = FileName(*found->second, config, false);
    targets.insert(hf.substr(hf.rfind('.') + 1));
  }
  layout.options.targets.assign(targets.begin(), targets.end());
  OCTET_ASSIGN(Adapters adapters, Create(config, layout.options));
  std::erase_if(adapters.entries_, [&](const Entry& e) {
    return std::none_of(present.begin(), present.end(), [&](const TensorSpec* s) {
      return s->role == e.spec.role && s->layer == e.spec.layer && s->expert == e.spec.expert;
    });
  });
  const int64_t r = layout.options.rank;
  for (const Entry& e : adapters.entries_) {
    const std::string name = FileName(e.spec, config, layout.mistral);
    OCTET_TRY(
        ReadInto(source, name + ".lora_A.weight", layout.tensors, {r, e.cols}, adapters.A(e)));
    OCTET_TRY(
        ReadInto(source, name + ".lora_B.weight", layout.tensors, {e.rows, r}, adapters.B(e)));
  }
  const RopePairing stored = layout.mistral ? RopePairing::kInterleaved : RopePairing::kHalves;
  if (stored != config.rope_pairing) adapters.PermuteB(config.rope_pairing == RopePairing::kHalves);
  return adapters;
}

Status Adapters::Save(const fs::path& folder, const std::string& base) const {
  // In the order of rows that Hugging Face's files have.
  const Adapters* from = this;
  Adapters halves;
  if (pairing_ != RopePairing::kHalves) {
    halves.options_ = options_;
    halves.head_dim_ = head_dim_;
    halves.entries_ = entries_;
    OCTET_ASSIGN(halves.values_, Buffer::Allocate(values_.size(), "adapters"));
    std::memcpy(halves.values_.data(), values_.data(), values_.size());
    halves.PermuteB(true);
    from = &halves;
  }
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Err(ErrorCode::kIo, "{}: {}", folder.string(), error.message());
  std::vector<TensorInfo> infos;
  const auto bytes = [](int64_t values) { return static_cast<uint64_t>(values) * sizeof(float); };
  for (const Entry& e : from->entries_) {
    const std::string name = kPeftPrefix + e.name;
    const int64_t r = options_.rank;
    infos.push_back({name + ".lora_A.weight", Format::kF32, {r, e.cols}, bytes(r * e.cols)});
    infos.push_back({name + ".lora_B.weight", Format::kF32, {e.rows, r}, bytes(r * e.rows)});
  }
  // The writer names its file as a model's.
  const fs::path staged = folder / ".adapter-unfinished";
  fs::remove_all(staged, error);
  SafetensorsWriterOptions options;
  options.max_shard_bytes = std::numeric_limits<uint64_t>::max();
  {
    OCTET_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::Create(staged, infos, options));
    for (const Entry& e : from->entries_) {
      OCTET_TRY(writer.Append(std::as_bytes(from->A(e))));
      OCTET_TRY(writer.Append(std::as_bytes(from->B(e))));
    }
    OCTET_TRY(writer.Commit());
  }
  const json config = {
      {"peft_type", "LORA"},
      {"task_type", "CAUSAL_LM"},
      {"base_model_name_or_path", base},
      {"r", options_.rank},
      {"lora_alpha", static_cast<double>(scale_) * static_cast<double>(options_.rank)},
      {"lora_dropout", 0.0},
      {"bias", "none"},
      {"fan_in_fan_out", false},
      {"use_rslora", false},
      {"inference_mode", true},
      {"target_modules", options_.targets}};
  OCTET_TRY(WriteFileAtomically(folder / kPeftConfig, config.dump(2) + "\n"));
  fs::rename(staged / "model.safetensors", folder / kPeftTensors, error);
  if (error) return Err(ErrorCode::kIo, "{}: {}", folder.string(), error.message());
  fs::remove_all(staged, error);
  return {};
}

}  // namespace octet
