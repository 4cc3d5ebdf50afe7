// config.json and params.json, through to the parameter count that they give.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/log.h"
#include "io/json.h"
#include "io/mapped_tensors.h"
#include "model/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  octet::SetUpLogging("off");
  auto json = octet::ParseJson({reinterpret_cast<const char*>(data), size}, "fuzz.json");
  if (!json) return 0;
  for (const auto kind : {octet::CheckpointKind::kHuggingFace, octet::CheckpointKind::kMistral}) {
    octet::Checkpoint checkpoint;
    checkpoint.kind = kind;
    checkpoint.path = "fuzz";
    checkpoint.config = *json;
    checkpoint.tensors = std::make_unique<octet::MappedTensors>();
    const auto config = octet::ReadModelConfig(checkpoint);
    if (!config) continue;
    const octet::ParameterCount count = octet::CountParameters(*config);
    if (count.total <= 0 || count.active <= 0 || count.active > count.total) __builtin_trap();
  }
  return 0;
}
