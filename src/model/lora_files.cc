// Adapters from files: Hugging Face's PEFT, and Mistral's.
#include "model/lora_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "io/json.h"
#include "io/safetensors.h"
#include "model/lora.h"

namespace octet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

Result<json> ReadObject(const fs::path& path) {
  OCTET_ASSIGN(json value, ReadJsonFile(path));
  if (!value.is_object()) return Err(ErrorCode::kCorrupt, "{}: not a JSON object", path.string());
  return value;
}

/// What a folder says about its adapters.
struct AdapterFiles {
  fs::path tensors;
  bool mistral = false;
  double rank = 0, alpha = 0;
  bool root_scale = false;                      // scale = alpha / √rank
  std::map<std::string, double> ranks, alphas;  // of modules that end so, instead of the above
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

/// rank_pattern or alpha_pattern: regular expressions for the ends of names, of which those are
/// read that are a name's end, with or without ".*\." before it.
Result<std::map<std::string, double>> ReadPattern(const json& config, const char* key,
                                                  const fs::path& where) {
  std::map<std::string, double> out;
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return out;
  for (const auto& [pattern, value] : found->items()) {
    std::string name = pattern;
    if (name.starts_with(".*\\.")) name.erase(0, 4);
    for (size_t at = name.find("\\."); at != std::string::npos; at = name.find("\\.", at))
      name.erase(at, 1);
    if (!value.is_number() || name.find_first_of("*+?[](){}|^$\\") != std::string::npos) {
      return Err(ErrorCode::kUnsupported,
                 "{}: {} has \"{}\": {}; only numbers for the ends of names are read",
                 where.string(), key, pattern, value.dump());
    }
    out[name] = value.get<double>();
  }
  return out;
}

Result<AdapterFiles> ReadPeft(const fs::path& folder) {
  AdapterFiles files;
  const fs::path where = folder / kPeftConfig;
  OCTET_ASSIGN(const json config, ReadObject(where));
  try {
    OCTET_TRY(CheckPeft(config, where));
    OCTET_ASSIGN(files.rank, NumberOf(config, "r", where));
    OCTET_ASSIGN(files.alpha, NumberOf(config, "lora_alpha", where));
    OCTET_ASSIGN(files.ranks, ReadPattern(config, "rank_pattern", where));
    OCTET_ASSIGN(files.alphas, ReadPattern(config, "alpha_pattern", where));
    files.root_scale = config.value("use_rslora", false);
  } catch (const json::exception& e) {
    return Err(ErrorCode::kCorrupt, "{}: {}", where.string(), e.what());
  }
  files.tensors = folder / kPeftTensors;
  return files;
}

Result<AdapterFiles> ReadMistral(const fs::path& folder) {
  AdapterFiles files;
  const fs::path where = folder / kMistralConfig;
  OCTET_ASSIGN(const json config, ReadObject(where));
  const json lora = config.value("lora", json::object());
  OCTET_ASSIGN(files.rank, NumberOf(lora, "rank", where));
  OCTET_ASSIGN(const double scaling, NumberOf(lora, "scaling", where));
  files.alpha = scaling * files.rank;
  files.tensors = folder / kMistralTensors;
  files.mistral = true;
  return files;
}

Result<AdapterFiles> ReadDescription(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error))
    return Err(ErrorCode::kNotFound, "adapter {}: no such file or folder", path.string());
  const fs::path folder = fs::is_directory(path, error) ? path : path.parent_path();
  if (fs::exists(folder / kPeftConfig, error)) return ReadPeft(folder);
  if (fs::exists(folder / kMistralTensors, error)) return ReadMistral(folder);
  return Err(ErrorCode::kNotFound, "adapter {}: neither {} (PEFT) nor {} (Mistral) is there",
             path.string(), kPeftConfig, kMistralTensors);
}

double ValueFor(const std::string& module, const std::map<std::string, double>& patterns,
                double otherwise) {
  for (const auto& [end, value] : patterns) {
    if (module == end || module.ends_with("." + end)) return value;
  }
  return otherwise;
}

/// A pair of tensors of a file, and the matrices they stand beside.
struct Slot {
  std::string name;    // of the tensors, without ".lora_A.weight"
  std::string module;  // as patterns know it
  /// One matrix; of fused experts all of them, expert by expert, the gate's before the up's.
  std::vector<const TensorSpec*> specs;
  int64_t experts = 1;  // that a pair's ranks are divided among
  int64_t rank = 0;
  double scale = 1;
  std::vector<float> a, b;  // [experts · rank, cols], [rows, rank · experts]

  int64_t parts() const { return static_cast<int64_t>(specs.size()) / experts; }
  int64_t rows() const { return parts() * specs[0]->shape[0]; }
  int64_t cols() const { return specs[0]->shape[1]; }
};

std::vector<Slot> PlainSlots(const std::vector<TensorSpec>& specs, const ModelConfig& config,
                             bool mistral) {
  std::vector<Slot> slots;
  for (const TensorSpec& spec : specs) {
    if (spec.layer < 0 || spec.shape.size() != 2) continue;
    std::string module = PlaceOf(spec, config, mistral ? Naming::kMistral : Naming::kHfSplit).name;
    module.resize(module.size() - std::strlen(".weight"));
    slots.push_back({(mistral ? "" : kPeftPrefix) + module, module, {&spec}});
  }
  return slots;
}

/// A layer's router and fused experts. With one of the two experts' parameters alone there is no
/// inner pair, and only its width says which it is.
void AddFusedSlots(const std::vector<TensorSpec>& specs, const ModelConfig& config, int32_t layer,
                   const TensorSource& source, std::vector<Slot>& slots) {
  const std::string experts = fmt::format(kFusedExperts, layer);
  const std::string router = fmt::format(kFusedRouter, layer);
  Slot gate_up{"", experts + ".gate_up_proj", {}, config.n_experts};
  Slot down{"", experts + ".down_proj", {}, config.n_experts};
  for (const TensorSpec& spec : specs) {
    if (spec.layer != layer) continue;
    if (spec.role == TensorRole::kRouter)
      slots.push_back({kPeftPrefix + router, router + ".weight", {&spec}});
    if (spec.role == TensorRole::kW2) down.specs.push_back(&spec);
    if (spec.role == TensorRole::kW1 || spec.role == TensorRole::kW3)
      gate_up.specs.push_back(&spec);
  }
  const std::string outer = kPeftPrefix + experts, inner = outer + kFusedInner;
  gate_up.name = inner;
  if (source.Find(inner + kHalfA) == nullptr && source.Find(inner + kHalfB) == nullptr) {
    const TensorInfo* b = source.Find(outer + kHalfB);
    const TensorInfo* a = source.Find(outer + kHalfA);
    const bool is_down = a != nullptr && b != nullptr && !a->shape.empty() && !b->shape.empty() &&
                         a->shape.back() == config.d_ff && b->shape[0] == config.d_model;
    if (!is_down) {
      gate_up.name = outer;
      slots.push_back(std::move(gate_up));
      return;
    }
  }
  down.name = outer;
  slots.push_back(std::move(gate_up));
  slots.push_back(std::move(down));
}

Status ReadHalf(const TensorSource& source, const std::string& name, const fs::path& where,
                const std::vector<int64_t>& shape, std::vector<float>& out) {
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
  out.resize(static_cast<size_t>(info->values()));
  Info(info->format).decode(bytes.data(), info->values(), out.data());
  return {};
}

Status ReadSlot(const TensorSource& source, const AdapterFiles& files, Slot& slot) {
  constexpr double kMaxRank = 1e6;
  const double rank = ValueFor(slot.module, files.ranks, files.rank);
  if (!(rank >= 1 && rank <= kMaxRank) || rank != std::floor(rank)) {
    return Err(ErrorCode::kCorrupt, "{}: rank {} of {}; expected a whole number from 1",
               files.tensors.string(), rank, slot.module);
  }
  slot.rank = static_cast<int64_t>(rank);
  const double alpha = ValueFor(slot.module, files.alphas, files.alpha);
  slot.scale = alpha / (files.root_scale ? std::sqrt(rank) : rank);
  const int64_t inner = slot.rank * slot.experts;
  OCTET_TRY(ReadHalf(source, slot.name + kHalfA, files.tensors, {inner, slot.cols()}, slot.a));
  return ReadHalf(source, slot.name + kHalfB, files.tensors, {slot.rows(), inner}, slot.b);
}

/// The slots that the file fills, with their values. What fits no matrix is an error.
Result<std::vector<Slot>> ReadSlots(const TensorSource& source, const AdapterFiles& files,
                                    const std::vector<TensorSpec>& specs,
                                    const ModelConfig& config) {
  std::vector<Slot> slots = PlainSlots(specs, config, files.mistral);
  if (!files.mistral && config.is_moe()) {
    for (int32_t layer = 0; layer < config.n_layers; ++layer)
      AddFusedSlots(specs, config, layer, source, slots);
  }
  std::map<std::string, size_t> names;
  for (size_t i = 0; i < slots.size(); ++i)
    for (const char* half : {kHalfA, kHalfB}) names[slots[i].name + half] = i;
  std::set<size_t> filled;
  std::set<const TensorSpec*> matrices;
  for (const TensorInfo& info : source.tensors()) {
    const auto found = names.find(info.name);
    if (found == names.end()) {
      return Err(ErrorCode::kInvalidArgument,
                 "{}: {} fits no matrix of this model; the adapter is for another model",
                 files.tensors.string(), info.name);
    }
    if (!filled.insert(found->second).second) continue;
    for (const TensorSpec* spec : slots[found->second].specs) {
      if (matrices.insert(spec).second) continue;
      return Err(ErrorCode::kCorrupt, "{}: {} is the second adapter of one matrix",
                 files.tensors.string(), info.name);
    }
  }
  std::vector<Slot> out;
  for (const size_t i : filled) {
    OCTET_TRY(ReadSlot(source, files, slots[i]));
    out.push_back(std::move(slots[i]));
  }
  return out;
}

/// Of a fused pair, the ranks that reach these rows of any expert: where gate and up were trained
/// apart, each has its own. All when none does, as before training.
std::vector<int64_t> RanksOf(const Slot& slot, int64_t first_row, int64_t rows) {
  std::vector<int64_t> all, used;
  const int64_t inner = slot.rank * slot.experts;
  for (int64_t r = 0; r < slot.rank; ++r) {
    all.push_back(r);
    bool zero = slot.parts() > 1;
    for (int64_t row = first_row; row < first_row + rows && zero; ++row) {
      const float* b = slot.b.data() + row * inner + r * slot.experts;
      zero = std::all_of(b, b + slot.experts, [](float value) { return value == 0; });
    }
    if (!zero) used.push_back(r);
  }
  return used.empty() ? all : used;
}

/// One matrix of a slot.
struct Piece {
  const Slot* slot;
  int64_t expert = 0, first_row = 0;
  std::vector<int64_t> ranks;
};

/// By matrix, in the model's order.
std::map<const TensorSpec*, Piece> Pieces(const std::vector<Slot>& slots) {
  std::map<const TensorSpec*, Piece> pieces;
  for (const Slot& slot : slots) {
    std::vector<std::vector<int64_t>> ranks;  // of each part
    for (int64_t part = 0; part < slot.parts(); ++part)
      ranks.push_back(RanksOf(slot, part * slot.specs[0]->shape[0], slot.specs[0]->shape[0]));
    for (size_t i = 0; i < slot.specs.size(); ++i) {
      const int64_t part = static_cast<int64_t>(i) % slot.parts();
      pieces[slot.specs[i]] = {&slot, static_cast<int64_t>(i) / slot.parts(),
                               part * slot.specs[i]->shape[0], ranks[static_cast<size_t>(part)]};
    }
  }
  return pieces;
}

void CopyPiece(const Piece& piece, int64_t rows, std::span<float> a, std::span<float> b) {
  const Slot& slot = *piece.slot;
  const int64_t inner = slot.rank * slot.experts, cols = slot.cols();
  const auto n = static_cast<int64_t>(piece.ranks.size());
  for (int64_t i = 0; i < n; ++i) {
    const int64_t r = piece.ranks[static_cast<size_t>(i)];
    std::copy_n(slot.a.begin() + (piece.expert * slot.rank + r) * cols, cols, a.begin() + i * cols);
    const float* from = slot.b.data() + piece.first_row * inner + r * slot.experts + piece.expert;
    for (int64_t row = 0; row < rows; ++row)
      b[static_cast<size_t>(row * n + i)] = from[row * inner];
  }
}

}  // namespace

Result<Adapters> Adapters::Load(const fs::path& path, const ModelConfig& config) {
  OCTET_ASSIGN(const AdapterFiles files, ReadDescription(path));
  MappedTensors source;
  OCTET_TRY(AddSafetensors(source, files.tensors, OpenMode::kFull));
  const std::vector<TensorSpec> specs = TensorSpecs(config);
  OCTET_ASSIGN(const std::vector<Slot> slots, ReadSlots(source, files, specs, config));
  const std::map<const TensorSpec*, Piece> pieces = Pieces(slots);
  Adapters adapters;
  adapters.config_ = config;
  std::set<std::string> targets;
  for (const auto& [spec, piece] : pieces) {
    adapters.Add(*spec, static_cast<int64_t>(piece.ranks.size()), piece.slot->scale);
    const std::string& name = adapters.entries_.back().name;
    targets.insert(name.substr(name.rfind('.') + 1));
  }
  adapters.options_ = {
      static_cast<int64_t>(files.rank), files.alpha, {targets.begin(), targets.end()}};
  OCTET_TRY(adapters.Allocate());
  auto piece = pieces.begin();
  for (const Entry& e : adapters.entries_) {
    CopyPiece(piece->second, e.rows, adapters.A(e), adapters.B(e));
    ++piece;
  }
  const RopePairing stored = files.mistral ? RopePairing::kInterleaved : RopePairing::kHalves;
  if (stored != config.rope_pairing) adapters.PermuteB(config.rope_pairing == RopePairing::kHalves);
  return adapters;
}

}  // namespace octet
