// Adapters into files: Hugging Face's PEFT, and Mistral's.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "io/json.h"
#include "io/safetensors_writer.h"
#include "model/lora.h"
#include "model/lora_files.h"

namespace octet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// A pair of tensors: A [inner, cols], B [rows, inner].
struct Pair {
  int64_t inner = 0, rows = 0, cols = 0;
  std::vector<float> a, b;
};
using Pairs = std::map<std::string, Pair>;  // by name, without ".lora_A.weight"

bool IsExpertMatrix(const TensorSpec& spec) { return spec.expert >= 0; }
bool IsGateOrUp(TensorRole role) { return role == TensorRole::kW1 || role == TensorRole::kW3; }

/// Which of an expert's matrices have adapters.
struct FusedParts {
  bool gate = false, up = false, down = false;
  int64_t of_gate_up() const { return (gate ? 1 : 0) + (up ? 1 : 0); }
};

FusedParts PartsOf(const std::vector<Adapters::Entry>& entries) {
  FusedParts parts;
  for (const Adapters::Entry& e : entries) {
    if (!IsExpertMatrix(e.spec)) continue;
    parts.gate = parts.gate || e.spec.role == TensorRole::kW1;
    parts.up = parts.up || e.spec.role == TensorRole::kW3;
    parts.down = parts.down || e.spec.role == TensorRole::kW2;
  }
  return parts;
}

/// One expert's A and B at their places in the fused pair: A's rows lie expert by expert, B's
/// columns rank by rank. Gate and up have ranks of their own, so B has zeros where they cross.
void AddToFused(const Adapters& adapters, const Adapters::Entry& e, const FusedParts& parts,
                int64_t n_experts, Pairs& pairs) {
  const bool gate_up = IsGateOrUp(e.spec.role), up = e.spec.role == TensorRole::kW3;
  const int64_t rank = e.rank * (gate_up ? parts.of_gate_up() : 1);
  const std::string outer = kPeftPrefix + fmt::format(kFusedExperts, e.spec.layer);
  Pair& pair = pairs[gate_up && parts.down ? outer + kFusedInner : outer];
  if (pair.inner == 0) {
    pair.inner = rank * n_experts;
    pair.rows = gate_up ? 2 * e.rows : e.rows;
    pair.cols = e.cols;
    pair.a.resize(static_cast<size_t>(pair.inner * pair.cols));
    pair.b.resize(static_cast<size_t>(pair.rows * pair.inner));
  }
  const int64_t first = up && parts.gate ? e.rank : 0;  // of this part's ranks
  const std::span<const float> a = adapters.A(e), b = adapters.B(e);
  std::copy(a.begin(), a.end(), pair.a.begin() + (e.spec.expert * rank + first) * e.cols);
  for (int64_t row = 0; row < e.rows; ++row) {
    float* to = pair.b.data() + (up ? e.rows + row : row) * pair.inner;
    for (int64_t i = 0; i < e.rank; ++i)
      to[(first + i) * n_experts + e.spec.expert] = b[static_cast<size_t>(row * e.rank + i)];
  }
}

std::string NameOf(const Adapters::Entry& e, const ModelConfig& config, AdapterFormat format) {
  if (format == AdapterFormat::kMistral) {
    const std::string name = PlaceOf(e.spec, config, Naming::kMistral).name;
    return name.substr(0, name.size() - std::strlen(".weight"));
  }
  const bool fused_router =
      format == AdapterFormat::kPeftFused && e.spec.role == TensorRole::kRouter;
  return kPeftPrefix + (fused_router ? fmt::format(kFusedRouter, e.spec.layer) : e.name);
}

Pairs PairsOf(const Adapters& adapters, const ModelConfig& config, AdapterFormat format) {
  Pairs pairs;
  const FusedParts parts = PartsOf(adapters.entries());
  for (const Adapters::Entry& e : adapters.entries()) {
    if (format == AdapterFormat::kPeftFused && IsExpertMatrix(e.spec)) {
      AddToFused(adapters, e, parts, config.n_experts, pairs);
      continue;
    }
    const std::span<const float> a = adapters.A(e), b = adapters.B(e);
    pairs[NameOf(e, config, format)] = {
        e.rank, e.rows, e.cols, {a.begin(), a.end()}, {b.begin(), b.end()}};
  }
  return pairs;
}

Status WritePairs(const fs::path& path, const Pairs& pairs) {
  std::vector<TensorInfo> infos;
  const auto bytes = [](size_t values) { return uint64_t{values * sizeof(float)}; };
  for (const auto& [name, pair] : pairs) {
    infos.push_back({name + kHalfA, Format::kF32, {pair.inner, pair.cols}, bytes(pair.a.size())});
    infos.push_back({name + kHalfB, Format::kF32, {pair.rows, pair.inner}, bytes(pair.b.size())});
  }
  // The writer names its file as a model's.
  const fs::path staged = path.parent_path() / ".adapter-unfinished";
  std::error_code error;
  fs::remove_all(staged, error);
  SafetensorsWriterOptions options;
  options.max_shard_bytes = std::numeric_limits<uint64_t>::max();
  {
    OCTET_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::Create(staged, infos, options));
    for (const auto& [name, pair] : pairs) {
      OCTET_TRY(writer.Append(std::as_bytes(std::span(pair.a))));
      OCTET_TRY(writer.Append(std::as_bytes(std::span(pair.b))));
    }
    OCTET_TRY(writer.Commit());
  }
  fs::rename(staged / "model.safetensors", path, error);
  if (error) return Err(ErrorCode::kIo, "{}: {}", path.string(), error.message());
  fs::remove_all(staged, error);
  return {};
}

json PeftConfig(const LoraOptions& options, const std::string& base) {
  return {{"peft_type", "LORA"},
          {"task_type", "CAUSAL_LM"},
          {"base_model_name_or_path", base},
          {"r", options.rank},
          {"lora_alpha", options.alpha},
          {"lora_dropout", 0.0},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"use_rslora", false},
          {"inference_mode", true},
          {"target_modules", options.targets}};
}

/// Fused experts and their router are parameters, not modules; gate and up share one.
json FusedPeftConfig(const LoraOptions& options, const std::string& base, const FusedParts& parts) {
  json config = PeftConfig(options, base);
  json modules = json::array(), parameters = json::array();
  for (const std::string& target : options.targets) {
    if (target == "gate") {
      parameters.push_back("mlp.gate.weight");
    } else if (target != "w1" && target != "w2" && target != "w3") {
      modules.push_back(target);
    }
  }
  const int64_t together = parts.of_gate_up();
  if (together > 0) parameters.push_back("mlp.experts.gate_up_proj");
  if (parts.down) parameters.push_back("mlp.experts.down_proj");
  if (together > 1) {
    config["rank_pattern"] = {{".*\\.gate_up_proj", together * options.rank}};
    config["alpha_pattern"] = {
        {".*\\.gate_up_proj", static_cast<double>(together) * options.alpha}};
  }
  config["target_modules"] = std::move(modules);
  config["target_parameters"] = std::move(parameters);
  return config;
}

}  // namespace

Status Adapters::Save(const fs::path& folder, const std::string& base, AdapterFormat format) const {
  LoraOptions options = options_;
  for (const Entry& e : entries_) {
    if (e.rank != entries_[0].rank || e.scale != entries_[0].scale) {
      return Err(ErrorCode::kUnsupported,
                 "{}: the adapters' ranks or scales differ; only alike ones are written",
                 folder.string());
    }
    options.rank = e.rank;
    options.alpha = static_cast<double>(e.scale) * static_cast<double>(e.rank);
  }
  if (!config_.is_moe() && format == AdapterFormat::kPeftFused) format = AdapterFormat::kPeft;
  const bool mistral = format == AdapterFormat::kMistral;
  OCTET_ASSIGN(const Adapters ordered,
               InOrder(mistral ? RopePairing::kInterleaved : RopePairing::kHalves));
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Err(ErrorCode::kIo, "{}: {}", folder.string(), error.message());
  json config;
  if (mistral) {
    const double scaling = options.alpha / static_cast<double>(options.rank);
    config["lora"] = {{"enable", true}, {"rank", options.rank}, {"scaling", scaling}};
  } else if (format == AdapterFormat::kPeftFused) {
    config = FusedPeftConfig(options, base, PartsOf(entries_));
  } else {
    config = PeftConfig(options, base);
  }
  OCTET_TRY(WriteFileAtomically(folder / (mistral ? kMistralConfig : kPeftConfig),
                                config.dump(2) + "\n"));
  return WritePairs(folder / (mistral ? kMistralTensors : kPeftTensors),
                    PairsOf(ordered, config_, format));
}

}  // namespace octet
