// What files of adapters are called, and their tensors. Private to lora_files.cc and lora_save.cc.
#pragma once

namespace octet {

inline constexpr char kPeftPrefix[] = "base_model.model.";
inline constexpr char kPeftConfig[] = "adapter_config.json";
inline constexpr char kPeftTensors[] = "adapter_model.safetensors";
inline constexpr char kMistralConfig[] = "params.json";
inline constexpr char kMistralTensors[] = "lora.safetensors";
inline constexpr char kHalfA[] = ".lora_A.weight", kHalfB[] = ".lora_B.weight";

// A layer's fused experts are two parameters of one module, each wrapped in turn: gate_up_proj
// first, so that it is the one within.
inline constexpr char kFusedExperts[] = "model.layers.{}.mlp.experts";
inline constexpr char kFusedInner[] = ".base_layer";
inline constexpr char kFusedRouter[] = "model.layers.{}.mlp.gate";

}  // namespace octet
