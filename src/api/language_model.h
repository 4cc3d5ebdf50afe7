// What the facade's classes hide.
#pragma once

#include <memory>
#include <vector>

#include "engine/engine.h"
#include "model/adapter_set.h"
#include "model/lora.h"
#include "model/weights.h"
#include "octet/engine.h"
#include "octet/server.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace octet {

struct LanguageModel::Impl {
  std::unique_ptr<Model> model;
  std::unique_ptr<Adapters> adapters;  // beside the model's weights, for all requests; null: none
  AdapterSet choices;                  // one of which a request may have too
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Model> draft_model;  // null: none
  std::unique_ptr<Engine> engine;      // last: it refers to those above
  ModelInfo info;
  ChatFormat chat_format = ChatFormat::kRaw;

  /// By name; empty gives the model's own. kInvalidArgument lists the names.
  Result<ChatFormat> FindChatFormat(std::string_view name) const;
  /// One request from prompt to last token. `options.stop` is added to the request's own.
  Result<GenerateResult> Run(Request request, const GenerateOptions& options,
                             const PieceCallback& callback);
  /// The ids and stops of a rendered conversation.
  Result<Request> RenderRequest(ChatFormat format, std::span<const ChatMessage> messages) const;
};

/// What a server's engine has other than a program's.
struct EngineShape {
  int32_t parallel = 1;
  int32_t prompt_rows = 0;  // EngineOptions::max_prompt_rows
  int64_t kv_tokens = 0;    // of all sequences; 0: parallel times the context
  bool keep_prefixes = false;
  std::vector<NamedAdapter> adapters = {};
};

/// LanguageModel::Load without the facade; may throw.
Result<std::shared_ptr<LanguageModel::Impl>> LoadImpl(const LoadOptions& options,
                                                      const EngineShape& shape);

struct Conversation::Impl {
  std::shared_ptr<LanguageModel::Impl> owner;
  ChatFormat format = ChatFormat::kRaw;
  int64_t session = 0;  // the engine's
  std::vector<ChatMessage> messages;

  ~Impl() { owner->engine->CloseSession(session); }
  /// Answers messages, which end with the user's, and appends the answer.
  Result<GenerateResult> Answer(const GenerateOptions& options, const PieceCallback& callback);
  /// Renders `kept`, after dropping its oldest turns until `answer_room` tokens are free.
  Result<Request> Fit(int64_t answer_room, std::vector<ChatMessage>& kept) const;
};

}  // namespace octet
