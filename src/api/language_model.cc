#include "api/language_model.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "api/guard.h"
#include "api/load_model.h"
#include "api/open_model.h"
#include "api/speculation.h"

namespace octet {
namespace {

double Seconds(std::chrono::steady_clock::duration d) {
  return std::chrono::duration<double>(d).count();
}

Result<EngineOptions> ReadOptions(const LoadOptions& options, const EngineShape& shape,
                                  const ModelConfig& config) {
  EngineOptions o;
  o.max_sequences = shape.parallel;
  o.max_prompt_rows = shape.prompt_rows;
  o.keep_prefixes = shape.keep_prefixes;
  o.threads = options.threads;
  o.max_batch_tokens = options.max_batch_tokens;
  const std::optional<Format> format = FormatFromName(options.kv_type);
  if (!format) {
    return Err(ErrorCode::kInvalidArgument, "kv type \"{}\": expected f32, f16, bf16 or q8_0",
               options.kv_type);
  }
  o.kv_format = *format;
  if (options.arithmetic != "fast" && options.arithmetic != "float32") {
    return Err(ErrorCode::kInvalidArgument, "arithmetic \"{}\": expected fast or float32",
               options.arithmetic);
  }
  o.arithmetic = options.arithmetic == "fast" ? Arithmetic::kFast : Arithmetic::kFloat32;
  if (options.context < 0) {
    return Err(ErrorCode::kInvalidArgument,
               "context is {}, expected 1 or more, or 0 for the model's", options.context);
  }
  constexpr int64_t kDefaultContext = 8192;
  o.max_context =
      options.context > 0 ? options.context : std::min(config.context_len, kDefaultContext);
  // Nonsense is refused where the engine is made; here it must not overflow.
  const int64_t context = std::min(o.max_context, int64_t{1} << 24);
  const int64_t pages_each = (context + o.page_tokens - 1) / o.page_tokens;
  o.kv_pages =
      shape.kv_tokens > 0 ? shape.kv_tokens / o.page_tokens + 1 : pages_each * shape.parallel;
  return o;
}

/// "FOLDER[:SCALE]"
Result<Adapters> ReadAdapters(const std::string& text, const ModelConfig& config) {
  std::string path = text;
  double scale = 1;
  if (const size_t colon = text.rfind(':'); colon != std::string::npos) {
    char* end = nullptr;
    const std::string number = text.substr(colon + 1);
    scale = std::strtod(number.c_str(), &end);
    if (number.empty() || *end != '\0') {
      return Err(ErrorCode::kInvalidArgument,
                 "adapter \"{}\": \"{}\" is not a number; expected FOLDER or FOLDER:SCALE", text,
                 number);
    }
    path = text.substr(0, colon);
  }
  OCTET_ASSIGN(Adapters adapters, Adapters::Load(path, config));
  adapters.Scale(scale);
  return adapters;
}

/// Beside the model's weights: one for all requests, and those requests may choose from.
Status AttachAdapters(const std::string& for_all, const std::vector<NamedAdapter>& choices,
                      LanguageModel::Impl& impl) {
  Model& model = *impl.model;
  if (!for_all.empty()) {
    OCTET_ASSIGN(Adapters adapters, ReadAdapters(for_all, model.config()));
    impl.adapters = std::make_unique<Adapters>(std::move(adapters));
    impl.adapters->AttachTo(model.mutable_weights());
  }
  for (const NamedAdapter& choice : choices) {
    OCTET_ASSIGN(Adapters adapters, ReadAdapters(choice.adapter, model.config()));
    OCTET_TRY(impl.choices.Add(choice.name, std::move(adapters)));
  }
  impl.choices.AttachTo(model.mutable_weights());
  return {};
}

ModelInfo Describe(const Model& model, const Engine& engine) {
  const ModelConfig& config = model.config();
  const ParameterCount count = CountParameters(config);
  ModelInfo info;
  info.architecture = config.architecture;
  info.parameters = count.total;
  info.active_parameters = count.active;
  info.vocab_size = config.vocab_size;
  info.context = engine.options().max_context;
  info.trained_context = config.context_len;
  info.weight_bytes = model.weight_bytes();
  info.kv_bytes_per_token = KvCache::BytesPerToken(config, engine.options().kv_format);
  info.threads = engine.threads();
  return info;
}

}  // namespace

Result<std::shared_ptr<LanguageModel::Impl>> LoadImpl(const LoadOptions& options,
                                                      const EngineShape& shape) {
  const auto start = std::chrono::steady_clock::now();
  auto impl = std::make_shared<LanguageModel::Impl>();
  OCTET_ASSIGN(OpenedModel loaded, OpenModel(options.model));
  impl->tokenizer = std::move(loaded.tokenizer);
  OCTET_ASSIGN(const ModelConfig config, ReadModelConfig(loaded.checkpoint));
  OCTET_ASSIGN(EngineOptions engine_options, ReadOptions(options, shape, config));
  const int64_t kv_bytes = engine_options.kv_pages * engine_options.page_tokens *
                           KvCache::BytesPerToken(config, engine_options.kv_format);
  OCTET_ASSIGN(impl->model, LoadWeights(std::move(loaded.checkpoint), config,
                                        {options, engine_options, kv_bytes}));
  OCTET_TRY(AttachAdapters(options.adapter, shape.adapters, *impl));
  engine_options.adapters = &impl->choices;
  OCTET_ASSIGN(engine_options.speculation, MakeSpeculation(options, engine_options, *impl->model,
                                                           *impl->tokenizer, impl->draft_model));
  OCTET_ASSIGN(impl->engine, Engine::Create(*impl->model, *impl->tokenizer, engine_options));
  impl->chat_format = RecogniseChatFormat(impl->tokenizer->vocabulary());
  impl->info = Describe(*impl->model, *impl->engine);
  impl->info.name = std::move(loaded.name);
  impl->info.chat_format = ChatFormatName(impl->chat_format);
  impl->info.load_s = Seconds(std::chrono::steady_clock::now() - start);
  return impl;
}

Result<LanguageModel> LanguageModel::Load(const LoadOptions& options) {
  return Guarded([&]() -> Result<LanguageModel> {
    OCTET_ASSIGN(std::shared_ptr<Impl> impl, LoadImpl(options, {}));
    return LanguageModel(std::move(impl));
  });
}

LanguageModel::LanguageModel(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
LanguageModel::~LanguageModel() = default;
LanguageModel::LanguageModel(LanguageModel&&) noexcept = default;
LanguageModel& LanguageModel::operator=(LanguageModel&&) noexcept = default;

const ModelInfo& LanguageModel::info() const { return impl_->info; }

Result<std::vector<int32_t>> LanguageModel::Tokenize(std::string_view text, bool add_bos) const {
  return Guarded([&]() -> Result<std::vector<int32_t>> {
    const Vocabulary& vocabulary = impl_->tokenizer->vocabulary();
    std::vector<int32_t> ids;
    if (add_bos && vocabulary.add_bos && vocabulary.bos >= 0) ids.push_back(vocabulary.bos);
    const std::vector<int32_t> encoded = impl_->tokenizer->Encode(text);
    ids.insert(ids.end(), encoded.begin(), encoded.end());
    return ids;
  });
}

Result<std::string> LanguageModel::Detokenize(std::span<const int32_t> ids) const {
  return Guarded([&]() -> Result<std::string> { return impl_->tokenizer->Decode(ids); });
}

Result<GenerateResult> LanguageModel::Generate(std::string_view prompt,
                                               const GenerateOptions& options,
                                               const PieceCallback& callback) {
  OCTET_ASSIGN(const std::vector<int32_t> ids, Tokenize(prompt));
  return Generate(ids, options, callback);
}

Result<GenerateResult> LanguageModel::Generate(std::span<const int32_t> prompt,
                                               const GenerateOptions& options,
                                               const PieceCallback& callback) {
  Request request;
  request.prompt.assign(prompt.begin(), prompt.end());
  // After nothing but BOS the answer is a text of its own.
  request.at_text_start =
      prompt.size() == 1 && prompt.front() == impl_->tokenizer->vocabulary().bos;
  return impl_->Run(std::move(request), options, callback);
}

Result<GenerateResult> LanguageModel::Chat(std::span<const ChatMessage> messages,
                                           const GenerateOptions& options,
                                           const PieceCallback& callback,
                                           std::string_view chat_format) {
  OCTET_ASSIGN(const ChatFormat format, impl_->FindChatFormat(chat_format));
  OCTET_ASSIGN(Request request, impl_->RenderRequest(format, messages));
  return impl_->Run(std::move(request), options, callback);
}

Result<std::vector<float>> LanguageModel::Logits(std::span<const int32_t> ids) {
  return Guarded([&] { return impl_->engine->AllLogits(ids); });
}

Result<Conversation> LanguageModel::StartConversation(std::string_view chat_format) {
  OCTET_ASSIGN(const ChatFormat format, impl_->FindChatFormat(chat_format));
  auto impl = std::make_unique<Conversation::Impl>();
  impl->owner = impl_;
  impl->format = format;
  impl->session = impl_->engine->OpenSession();
  return Conversation(std::move(impl));
}

Result<ChatFormat> LanguageModel::Impl::FindChatFormat(std::string_view name) const {
  if (name.empty()) return chat_format;
  if (const std::optional<ChatFormat> format = ChatFormatFromName(name)) return *format;
  std::string names;
  for (const ChatFormat format : kChatFormats) {
    names += names.empty() ? "" : ", ";
    names += ChatFormatName(format);
  }
  return Err(ErrorCode::kInvalidArgument, "chat format \"{}\": expected one of {}", name, names);
}

Result<Request> LanguageModel::Impl::RenderRequest(ChatFormat format,
                                                   std::span<const ChatMessage> messages) const {
  return Guarded([&]() -> Result<Request> {
    OCTET_ASSIGN(RenderedChat chat, RenderChat(format, messages, *tokenizer));
    Request request;
    request.prompt = std::move(chat.ids);
    request.stop_strings = std::move(chat.stop_strings);
    request.stop_ids = std::move(chat.stop_ids);
    request.at_text_start = format != ChatFormat::kRaw;
    return request;
  });
}

}  // namespace octet
