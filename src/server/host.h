// What every handler of the server needs.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/service.h"
#include "server/api_error.h"
#include "server/metrics.h"
#include "service/bookkeeper.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace octet {

struct ServedModel {
  std::vector<std::string> names;     // the first is shown, all are understood; not empty
  std::vector<std::string> adapters;  // by the engine's number, from 1; as good as models' names
  std::string architecture;
  int64_t created = 0;  // when it was loaded, seconds since 1970
  int64_t context = 0;
  int64_t trained_context = 0;
  int64_t vocab_size = 0;
  int64_t parameters = 0;
};

/// Of the model, or of its adapter of this number.
inline const std::string& AnsweringName(const ServedModel& model, int32_t adapter) {
  return adapter == 0 ? model.names.front() : model.adapters[static_cast<size_t>(adapter) - 1];
}

struct Host {
  EngineService& engine;
  const Tokenizer& tokenizer;
  ChatFormat chat_format = ChatFormat::kRaw;
  ServedModel model;
  std::vector<std::string> api_keys;  // empty: everybody may ask
  std::string cors_origin;            // that browsers' pages may come from; empty: none
  bool only_loopback = true;
  std::chrono::seconds request_timeout{0};  // 0: none
  /// Runs a function on the server's thread; may be called from any.
  std::function<void(std::function<void()>)> post;
  /// The same for sinks of the engine: once all of them were called.
  std::function<void(std::function<void()>)> post_from_sink = {};
  Metrics metrics = {};
  int64_t connections = 0;
  Bookkeeper* books = nullptr;  // null: no accounts
  bool needs_key = false;
  bool log_texts = false;  // prompts and answers are put into records
};

/// 404 when `name` is neither empty nor one of the model's or of an adapter.
ApiResult<void> CheckModel(const Host& host, const std::string& name);
/// The number of the adapter of this name, 0: there is none.
int32_t FindAdapter(const Host& host, std::string_view name);
/// The one a request wants by its "model", or by "octet.adapter" (empty: not said); 0: none. Errors
/// list the names there are.
ApiResult<int32_t> ChooseAdapter(const Host& host, const std::string& model,
                                 const std::string& adapter);
/// How a refused request is answered.
ApiError RefusalError(const Refusal& refusal);

}  // namespace octet
