// Adapters with random values, as PEFT's files.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/rng.h"
#include "io/checkpoint.h"
#include "model/lora.h"

namespace octet::testing {

/// Large enough to change what the model says. Different seeds give different ones.
inline Adapters RandomAdapter(const ModelConfig& config, uint64_t seed, const LoraOptions& options,
                              double size = 0.3) {
  auto made = Adapters::Create(config, options);
  EXPECT_TRUE(made) << made.error().message;
  Adapters adapters = *std::move(made);
  adapters.Initialise(seed);
  uint64_t stream = 1000;
  for (const Adapters::Entry& e : adapters.entries()) {
    const auto b = adapters.B(e);
    for (size_t i = 0; i < b.size(); ++i)
      b[i] = static_cast<float>(size * RandomNormal(seed, stream, i));
    ++stream;
  }
  return adapters;
}

/// A folder for the model in this file or folder.
inline void WriteRandomAdapter(const std::filesystem::path& folder, const std::string& model,
                               uint64_t seed) {
  auto checkpoint = OpenCheckpoint(model);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  const auto config = ReadModelConfig(*checkpoint);
  ASSERT_TRUE(config) << config.error().message;
  const LoraOptions options{4, 8, {"q_proj", "v_proj", "o_proj", "w1", "w2", "w3"}};
  const Status saved = RandomAdapter(*config, seed, options).Save(folder, "base");
  ASSERT_TRUE(saved) << saved.error().message;
}

}  // namespace octet::testing
