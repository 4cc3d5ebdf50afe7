#include "api/train_samples.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "api/train_data.h"
#include "engine/engine.h"

namespace octet {
namespace {

Result<Request> RequestFor(const std::string& prompt, const Tokenizer& tokenizer, DocumentKind kind,
                           const TrainOptions& options) {
  Request request;
  request.max_tokens = options.sample_tokens;
  request.sampling.seed = options.seed;
  if (kind == DocumentKind::kText) {
    request.prompt = tokenizer.Encode(prompt);
    request.prompt.insert(request.prompt.begin(), tokenizer.vocabulary().bos);
    return request;
  }
  OCTET_ASSIGN(const ChatFormat format, ChatFormatOf(options, tokenizer));
  const std::vector<ChatMessage> messages = {{"user", prompt}};
  OCTET_ASSIGN(RenderedChat chat, RenderChat(format, messages, tokenizer));
  request.prompt = std::move(chat.ids);
  request.stop_ids = std::move(chat.stop_ids);
  request.stop_strings = std::move(chat.stop_strings);
  request.at_text_start = true;
  return request;
}

}  // namespace

Result<std::vector<TrainSample>> SampleModel(const TrainedModel& trained,
                                             const Tokenizer& tokenizer, DocumentKind kind,
                                             const TrainOptions& options) {
  EngineOptions engine_options;
  engine_options.threads = options.threads;
  engine_options.arithmetic = Arithmetic::kFloat32;  // the weights change: nothing to prepare
  engine_options.max_context = std::min(options.context, trained.model->config().context_len);
  OCTET_ASSIGN(const std::unique_ptr<Engine> engine,
               Engine::Create(*trained.model, tokenizer, engine_options));
  std::vector<TrainSample> samples;
  for (const std::string& prompt : options.sample_prompts) {
    OCTET_ASSIGN(Request request, RequestFor(prompt, tokenizer, kind, options));
    OCTET_ASSIGN(const uint64_t id, engine->Submit(std::move(request)));
    TrainSample sample{prompt, {}};
    while (engine->busy()) {
      for (const Event& event : engine->Step()) {
        if (event.request == id) sample.text += event.text;
      }
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace octet
