// Engines of the tiny model, requests that differ, and what they get alone.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "support/tiny_model.h"

namespace octet::testing {

struct Answer {
  std::vector<int32_t> ids;
  std::string text;
  std::optional<FinishReason> finish;
  int64_t cached_tokens = 0;
};

class EngineTest : public ::testing::Test {
 protected:
  std::unique_ptr<Engine> Make(EngineOptions options = {}) {
    options.threads = options.threads > 0 ? options.threads : 1;
    options.arithmetic = Arithmetic::kFloat32;
    auto engine = Engine::Create(*model_, tokenizer_, options);
    EXPECT_TRUE(engine) << engine.error().message;
    return *std::move(engine);
  }

  /// A prompt and options that differ from request to request, sampled and greedy in turn.
  static Request MakeRequest(int i, int64_t prompt_tokens = 10, int64_t max_tokens = 20) {
    Request request;
    request.prompt.push_back(1);
    for (int64_t t = 1; t < prompt_tokens; ++t) {
      request.prompt.push_back(static_cast<int32_t>(3 + (t * (i + 3) + i) % (kVocab - 3)));
    }
    request.max_tokens = max_tokens;
    request.sampling = i % 2 == 0 ? SamplingOptions::Plain() : SamplingOptions::Greedy();
    request.sampling.seed = static_cast<uint64_t>(i);
    request.sampling.ignore_eos = true;
    return request;
  }

  static void Take(std::span<const Event> events, std::map<uint64_t, Answer>& answers) {
    for (const Event& event : events) {
      Answer& answer = answers[event.request];
      EXPECT_FALSE(answer.finish) << "an event after the last";
      if (event.token >= 0) answer.ids.push_back(event.token);
      answer.text += event.text;
      answer.finish = event.finish;
      answer.cached_tokens = event.cached_tokens;
    }
  }

  static std::map<uint64_t, Answer> RunAll(Engine& engine) {
    std::map<uint64_t, Answer> answers;
    while (engine.busy()) Take(engine.Step(), answers);
    return answers;
  }

  static Answer Run(Engine& engine, Request request) {
    const auto id = engine.Submit(std::move(request));
    EXPECT_TRUE(id) << id.error().message;
    return RunAll(engine)[*id];
  }

  std::vector<std::vector<int32_t>> Alone(int n, int64_t prompt_tokens, int64_t max_tokens) {
    std::vector<std::vector<int32_t>> ids;
    auto engine = Make();
    for (int i = 0; i < n; ++i) {
      ids.push_back(Run(*engine, MakeRequest(i, prompt_tokens, max_tokens)).ids);
    }
    return ids;
  }

  static constexpr int32_t kVocab = testing::kTinyVocab;
  std::unique_ptr<Model> model_ = testing::TinyModel();
  testing::LetterTokenizer tokenizer_;
};

}  // namespace octet::testing
