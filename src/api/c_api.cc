// The C interface over the C++ facade. No exception leaves a function here.
#include <algorithm>
#include <cstring>
#include <string>

#include "api/guard.h"
#include "octet/engine.h"
#include "octet/octet.h"
#include "octet/version.h"

struct octet_model {
  octet::LanguageModel model;
};

namespace octet {
namespace {

thread_local std::string last_error;

octet_status StatusOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return OCTET_INVALID_ARGUMENT;
    case ErrorCode::kNotFound:
      return OCTET_NOT_FOUND;
    case ErrorCode::kIo:
      return OCTET_IO;
    case ErrorCode::kCorrupt:
      return OCTET_CORRUPT;
    case ErrorCode::kUnsupported:
      return OCTET_UNSUPPORTED;
    case ErrorCode::kOutOfMemory:
      return OCTET_OUT_OF_MEMORY;
    case ErrorCode::kCancelled:
      return OCTET_CANCELLED;
    case ErrorCode::kInternal:
      return OCTET_INTERNAL;
  }
  return OCTET_INTERNAL;
}

/// Runs fn() → Status; its error becomes the return value and the thread's message.
template <class F>
octet_status Call(F&& fn) {
  const Status status = Guarded(std::forward<F>(fn));
  if (status) {
    last_error.clear();
    return OCTET_OK;
  }
  last_error = status.error().message;
  return StatusOf(status.error().code);
}

Status NotNull(const void* pointer, const char* name) {
  if (pointer != nullptr) return {};
  return Err(ErrorCode::kInvalidArgument, "{} is NULL", name);
}

/// The caller's struct over defaults: a caller built against an older, shorter struct keeps the
/// defaults of what it does not know.
template <class T>
Result<T> ReadStruct(const T* given, T defaults, const char* name) {
  if (given == nullptr) return defaults;
  if (given->struct_size < sizeof(size_t) || given->struct_size > sizeof(T)) {
    return Err(ErrorCode::kInvalidArgument,
               "{}: struct_size is {}, expected up to {}; call {}_init first, and use the header "
               "of this library's version",
               name, given->struct_size, sizeof(T), name);
  }
  std::memcpy(&defaults, given, given->struct_size);
  defaults.struct_size = sizeof(T);
  return defaults;
}

/// Fills in as much of the caller's struct as it has.
template <class T>
Status WriteStruct(T filled, T* out, const char* name) {
  OCTET_TRY(NotNull(out, name));
  const size_t size = out->struct_size;
  if (size < sizeof(size_t) || size > sizeof(T)) {
    return Err(ErrorCode::kInvalidArgument, "{}: struct_size is {}, expected sizeof({}), {}", name,
               size, name, sizeof(T));
  }
  filled.struct_size = size;
  std::memcpy(out, &filled, size);
  return {};
}

std::string OrEmpty(const char* text) { return text == nullptr ? std::string() : text; }

Result<GenerateOptions> ReadGenerate(const octet_generate_options& o) {
  GenerateOptions options;
  options.max_tokens = o.max_tokens;
  SamplingOptions& s = options.sampling;
  s.seed = o.seed;
  s.temperature = o.temperature;
  s.top_p = o.top_p;
  s.min_p = o.min_p;
  s.typical_p = o.typical_p;
  s.top_k = o.top_k;
  s.temperature_first = o.temperature_first != 0;
  s.mirostat_tau = o.mirostat_tau;
  s.mirostat_eta = o.mirostat_eta;
  s.repeat_penalty = o.repeat_penalty;
  s.presence_penalty = o.presence_penalty;
  s.frequency_penalty = o.frequency_penalty;
  s.penalty_last_n = o.penalty_last_n;
  s.dry_multiplier = o.dry_multiplier;
  s.dry_base = o.dry_base;
  s.dry_allowed_length = o.dry_allowed_length;
  s.dry_last_n = o.dry_last_n;
  s.ignore_eos = o.ignore_eos != 0;
  if (o.stop_count > 0) OCTET_TRY(NotNull(o.stop, "stop"));
  for (size_t i = 0; i < o.stop_count; ++i) {
    OCTET_TRY(NotNull(o.stop[i], "a stop string"));
    options.stop.emplace_back(o.stop[i]);
  }
  if (o.bias_count > 0) {
    OCTET_TRY(NotNull(o.bias_ids, "bias_ids"));
    OCTET_TRY(NotNull(o.bias_values, "bias_values"));
  }
  for (size_t i = 0; i < o.bias_count; ++i) {
    s.logit_bias.emplace_back(o.bias_ids[i], o.bias_values[i]);
  }
  if (o.grammar != nullptr && o.json_schema != nullptr) {
    return Err(ErrorCode::kInvalidArgument, "grammar and json_schema: only one of them may be set");
  }
  if (o.grammar != nullptr) options.constraint = {Constraint::Kind::kGrammar, o.grammar};
  if (o.json_schema != nullptr) options.constraint = {Constraint::Kind::kJsonSchema, o.json_schema};
  return options;
}

octet_finish FinishOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength:
      return OCTET_FINISH_LENGTH;
    case FinishReason::kContext:
      return OCTET_FINISH_CONTEXT;
    case FinishReason::kCancelled:
    case FinishReason::kDeadline:
      return OCTET_FINISH_CANCELLED;
    case FinishReason::kStop:
    case FinishReason::kError:  // an Error by now
      return OCTET_FINISH_STOP;
  }
  return OCTET_FINISH_STOP;
}

octet_generate_options DefaultGenerate() {
  const GenerateOptions options;
  const SamplingOptions& s = options.sampling;
  octet_generate_options o = {};
  o.struct_size = sizeof(o);
  o.max_tokens = options.max_tokens;
  o.temperature = s.temperature;
  o.top_p = s.top_p;
  o.min_p = s.min_p;
  o.typical_p = s.typical_p;
  o.top_k = s.top_k;
  o.mirostat_eta = s.mirostat_eta;
  o.repeat_penalty = s.repeat_penalty;
  o.penalty_last_n = s.penalty_last_n;
  o.dry_base = s.dry_base;
  o.dry_allowed_length = s.dry_allowed_length;
  o.dry_last_n = s.dry_last_n;
  return o;
}

octet_load_options DefaultLoad() {
  octet_load_options o = {};
  o.struct_size = sizeof(o);
  return o;
}

Result<GenerateResult> Generate(LanguageModel& model, const char* prompt,
                                const octet_generate_options& o, const PieceCallback& callback) {
  OCTET_ASSIGN(const GenerateOptions options, ReadGenerate(o));
  if (o.chat == 0) return model.Generate(std::string_view(prompt), options, callback);
  std::vector<ChatMessage> messages;
  if (o.system != nullptr) messages.push_back({"system", o.system});
  messages.push_back({"user", prompt});
  return model.Chat(messages, options, callback, OrEmpty(o.chat_format));
}

}  // namespace
}  // namespace octet

using octet::Call;
using octet::Err;
using octet::ErrorCode;
using octet::NotNull;
using octet::Status;

const char* octet_version(void) { return octet::kVersion; }

const char* octet_last_error(void) { return octet::last_error.c_str(); }

const char* octet_status_name(octet_status status) {
  static constexpr const char* kNames[] = {
      "ok",          "invalid_argument", "not_found", "io",      "corrupt",
      "unsupported", "out_of_memory",    "cancelled", "internal"};
  const auto i = static_cast<unsigned>(status);
  return i < std::size(kNames) ? kNames[i] : "internal";
}

void octet_load_options_init(octet_load_options* options) {
  if (options != nullptr) *options = octet::DefaultLoad();
}

void octet_generate_options_init(octet_generate_options* options) {
  if (options != nullptr) *options = octet::DefaultGenerate();
}

octet_status octet_model_load(const octet_load_options* options, octet_model** model) {
  if (model != nullptr) *model = nullptr;
  return Call([&]() -> Status {
    OCTET_TRY(NotNull(model, "model"));
    OCTET_ASSIGN(const octet_load_options o,
                 octet::ReadStruct(options, octet::DefaultLoad(), "octet_load_options"));
    octet::LoadOptions load;
    load.model = octet::OrEmpty(o.model_path);
    if (o.kv_type != nullptr) load.kv_type = o.kv_type;
    if (o.arithmetic != nullptr) load.arithmetic = o.arithmetic;
    if (o.max_batch_tokens != 0) load.max_batch_tokens = o.max_batch_tokens;
    if (o.max_draft != 0) load.max_draft = o.max_draft;
    load.speculate = octet::OrEmpty(o.speculate);
    load.draft_model = octet::OrEmpty(o.draft_model);
    load.context = o.context;
    load.threads = o.threads;
    OCTET_ASSIGN(octet::LanguageModel loaded, octet::LanguageModel::Load(load));
    *model = std::make_unique<octet_model>(octet_model{std::move(loaded)}).release();
    return {};
  });
}

void octet_model_free(octet_model* model) { std::unique_ptr<octet_model> owned(model); }

octet_status octet_model_get_info(const octet_model* model, octet_model_info* info) {
  return Call([&]() -> Status {
    OCTET_TRY(NotNull(model, "model"));
    const octet::ModelInfo& from = model->model.info();
    octet_model_info filled = {};
    filled.name = from.name.c_str();
    filled.architecture = from.architecture.c_str();
    filled.chat_format = from.chat_format.c_str();
    filled.parameters = from.parameters;
    filled.active_parameters = from.active_parameters;
    filled.vocab_size = from.vocab_size;
    filled.context = from.context;
    filled.trained_context = from.trained_context;
    filled.weight_bytes = from.weight_bytes;
    filled.kv_bytes_per_token = from.kv_bytes_per_token;
    filled.threads = from.threads;
    return octet::WriteStruct(filled, info, "octet_model_info");
  });
}

octet_status octet_tokenize(const octet_model* model, const char* text, size_t text_bytes,
                            int add_bos, int32_t* ids, size_t capacity, size_t* count) {
  return Call([&]() -> Status {
    OCTET_TRY(NotNull(model, "model"));
    OCTET_TRY(NotNull(count, "count"));
    if (text_bytes > 0) OCTET_TRY(NotNull(text, "text"));
    OCTET_ASSIGN(const std::vector<int32_t> all,
                 model->model.Tokenize(std::string_view(text, text_bytes), add_bos != 0));
    *count = all.size();
    if (capacity == 0) return {};
    OCTET_TRY(NotNull(ids, "ids"));
    if (capacity < all.size()) {
      return Err(ErrorCode::kInvalidArgument, "{} ids do not fit a capacity of {}", all.size(),
                 capacity);
    }
    std::copy(all.begin(), all.end(), ids);
    return {};
  });
}

octet_status octet_detokenize(const octet_model* model, const int32_t* ids, size_t count,
                              char* text, size_t capacity, size_t* bytes) {
  return Call([&]() -> Status {
    OCTET_TRY(NotNull(model, "model"));
    OCTET_TRY(NotNull(bytes, "bytes"));
    if (count > 0) OCTET_TRY(NotNull(ids, "ids"));
    OCTET_ASSIGN(const std::string all, model->model.Detokenize({ids, count}));
    *bytes = all.size();
    if (capacity == 0) return {};
    OCTET_TRY(NotNull(text, "text"));
    if (capacity <= all.size()) {
      return Err(ErrorCode::kInvalidArgument, "{} bytes and a zero do not fit a capacity of {}",
                 all.size(), capacity);
    }
    std::memcpy(text, all.c_str(), all.size() + 1);
    return {};
  });
}

octet_status octet_generate(octet_model* model, const char* prompt,
                            const octet_generate_options* options, octet_piece_callback callback,
                            void* user, octet_generate_result* result) {
  return Call([&]() -> Status {
    OCTET_TRY(NotNull(model, "model"));
    OCTET_TRY(NotNull(prompt, "prompt"));
    OCTET_ASSIGN(const octet_generate_options o,
                 octet::ReadStruct(options, octet::DefaultGenerate(), "octet_generate_options"));
    octet::PieceCallback on_piece;
    if (callback != nullptr) {
      on_piece = [&](std::string_view piece) {
        return callback(user, piece.data() == nullptr ? "" : piece.data(), piece.size()) == 0;
      };
    }
    OCTET_ASSIGN(const octet::GenerateResult done,
                 octet::Generate(model->model, prompt, o, on_piece));
    if (result == nullptr) return {};
    octet_generate_result filled = {};
    filled.finish = octet::FinishOf(done.finish);
    filled.prompt_tokens = done.prompt_tokens;
    filled.completion_tokens = done.completion_tokens();
    filled.prompt_s = done.prompt_s;
    filled.decode_s = done.decode_s;
    filled.steps = done.steps;
    filled.drafted_tokens = done.drafted_tokens;
    filled.accepted_tokens = done.accepted_tokens;
    return octet::WriteStruct(filled, result, "octet_generate_result");
  });
}

octet_status octet_logits(octet_model* model, const int32_t* ids, size_t count, float* logits,
                          size_t capacity) {
  return Call([&]() -> Status {
    OCTET_TRY(NotNull(model, "model"));
    OCTET_TRY(NotNull(ids, "ids"));
    OCTET_TRY(NotNull(logits, "logits"));
    const auto vocab_size = static_cast<size_t>(model->model.info().vocab_size);
    if (capacity / vocab_size < count) {
      return Err(ErrorCode::kInvalidArgument, "{} rows of {} logits do not fit a capacity of {}",
                 count, vocab_size, capacity);
    }
    OCTET_ASSIGN(const std::vector<float> all, model->model.Logits({ids, count}));
    std::copy(all.begin(), all.end(), logits);
    return {};
  });
}
