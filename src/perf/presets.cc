#include "perf/presets.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

namespace octet {
namespace {

struct Preset {
  const char* name;
  const char* architecture;
  int64_t n_layers, d_model, n_heads, n_kv_heads, d_ff, n_experts, vocab_size, context_len,
      sliding_window;
  double rope_theta;
};

// From the released configurations (config.json of each model).
constexpr std::array kPresets = {
    Preset{"mixtral-8x7b", "mixtral", 32, 4096, 32, 8, 14336, 8, 32000, 32768, 0, 1e6},
    Preset{"mixtral-8x22b", "mixtral", 56, 6144, 48, 8, 16384, 8, 32768, 65536, 0, 1e6},
    Preset{"mistral-7b", "mistral", 32, 4096, 32, 8, 14336, 0, 32000, 32768, 4096, 1e4},
    Preset{"llama-2-70b", "llama", 80, 8192, 64, 8, 28672, 0, 32000, 4096, 0, 1e4},
    // For trying things out: of no released model, and done in a moment.
    Preset{"tiny-moe", "mixtral", 2, 256, 4, 2, 512, 8, 1024, 8192, 0, 1e6},
};

}  // namespace

std::vector<std::string> PresetNames() {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) names.emplace_back(preset.name);
  return names;
}

Result<ModelConfig> PresetConfig(std::string_view name, int64_t layers) {
  const auto found = std::find_if(kPresets.begin(), kPresets.end(),
                                  [&](const Preset& p) { return p.name == name; });
  if (found == kPresets.end()) {
    return Err(ErrorCode::kInvalidArgument, "synthetic model \"{}\": expected one of {}", name,
               fmt::join(PresetNames(), ", "));
  }
  if (layers < 0 || layers > 1024)
    return Err(ErrorCode::kInvalidArgument, "{} layers: expected 1 to 1024, or 0 for all", layers);
  ModelConfig config;
  config.architecture = found->architecture;
  config.n_layers = layers > 0 ? layers : found->n_layers;
  config.d_model = found->d_model;
  config.n_heads = found->n_heads;
  config.n_kv_heads = found->n_kv_heads;
  config.head_dim = found->d_model / found->n_heads;
  config.d_ff = found->d_ff;
  config.n_experts = found->n_experts;
  config.n_experts_per_token = found->n_experts > 0 ? 2 : 0;
  config.vocab_size = found->vocab_size;
  config.context_len = found->context_len;
  config.sliding_window = found->sliding_window;
  config.rope_theta = found->rope_theta;
  return config;
}

}  // namespace octet
