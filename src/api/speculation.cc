#include "api/speculation.h"

#include "api/load_model.h"
#include "api/open_model.h"
#include "engine/lookup_drafter.h"
#include "engine/model_drafter.h"

namespace octet {
namespace {

enum class Kind : uint8_t { kOff, kLookup, kDraft };

Result<Kind> KindOf(const LoadOptions& options) {
  const bool named = !options.draft_model.empty();
  if (options.speculate.empty()) return named ? Kind::kDraft : Kind::kOff;
  if (options.speculate == "draft" && !named) {
    return Err(ErrorCode::kInvalidArgument,
               "speculate \"draft\" needs a draft model: a smaller one with the same vocabulary");
  }
  if (options.speculate != "draft" && named) {
    return Err(ErrorCode::kInvalidArgument,
               "speculate \"{}\" has no use for the draft model {}; leave one of them out",
               options.speculate, options.draft_model);
  }
  if (options.speculate == "draft") return Kind::kDraft;
  if (options.speculate == "lookup") return Kind::kLookup;
  if (options.speculate == "off") return Kind::kOff;
  return Err(ErrorCode::kInvalidArgument, "speculate \"{}\": expected off, lookup or draft",
             options.speculate);
}

Result<std::shared_ptr<Drafter>> LoadDraft(const LoadOptions& options, const EngineOptions& engine,
                                           const Model& model, const Tokenizer& tokenizer,
                                           std::unique_ptr<Model>& draft_model) {
  OCTET_ASSIGN(OpenedModel opened, OpenModel(options.draft_model));
  OCTET_TRY(CheckSameVocabulary(tokenizer, *opened.tokenizer));
  OCTET_ASSIGN(const ModelConfig config, ReadModelConfig(opened.checkpoint));
  ModelDrafterOptions o;
  o.kv_format = engine.kv_format;
  o.page_tokens = engine.page_tokens;
  o.max_context = engine.max_context;
  o.max_sequences = engine.max_sequences;
  o.max_batch_tokens = engine.max_batch_tokens;
  o.vocab_size = model.config().vocab_size;
  const auto kv_bytes = [&](const ModelConfig& c) {
    return engine.max_context * engine.max_sequences * KvCache::BytesPerToken(c, engine.kv_format);
  };
  const int64_t beside = kv_bytes(model.config()) + kv_bytes(config) + model.owned_bytes();
  OCTET_ASSIGN(draft_model,
               LoadWeights(std::move(opened.checkpoint), config, {options, engine, beside}));
  OCTET_ASSIGN(std::unique_ptr<Drafter> drafter, ModelDrafter::Create(*draft_model, o));
  return std::shared_ptr<Drafter>(std::move(drafter));
}

}  // namespace

Result<SpeculationOptions> MakeSpeculation(const LoadOptions& options, const EngineOptions& engine,
                                           const Model& model, const Tokenizer& tokenizer,
                                           std::unique_ptr<Model>& draft_model) {
  SpeculationOptions speculation;
  OCTET_ASSIGN(const Kind kind, KindOf(options));
  if (options.max_draft < 1 || options.max_draft > kMostDraft) {
    return Err(ErrorCode::kInvalidArgument, "max draft is {}, expected 1 to {}", options.max_draft,
               kMostDraft);
  }
  speculation.max_draft = options.max_draft;
  if (kind == Kind::kLookup) {
    speculation.drafter = std::make_shared<LookupDrafter>(engine.max_sequences, engine.max_context);
  } else if (kind == Kind::kDraft) {
    OCTET_ASSIGN(speculation.drafter, LoadDraft(options, engine, model, tokenizer, draft_model));
  }
  return speculation;
}

}  // namespace octet
