#include "server/embeddings.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <utility>

#include "server/accounting.h"
#include "server/generation_job.h"
#include "server/json_fields.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;
using Vectors = std::vector<std::vector<float>>;

std::string Base64(std::span<const float> values) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes(values.size() * sizeof(float), '\0');  // little-endian, as x86 has them
  std::memcpy(bytes.data(), values.data(), bytes.size());
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t three = 0;
    for (size_t j = 0; j < 3; ++j) {
      three = three << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    }
    for (size_t j = 0; j < 4; ++j) {
      out += i + j <= bytes.size() ? kDigits[three >> (18 - 6 * j) & 63] : '=';
    }
  }
  return out;
}

void Normalise(std::vector<float>& vector) {
  double squares = 0;
  for (const float x : vector) squares += static_cast<double>(x) * x;
  if (!(squares > 0)) return;
  for (float& x : vector) x = static_cast<float>(x / std::sqrt(squares));
}

class EmbeddingJob : public std::enable_shared_from_this<EmbeddingJob> {
 public:
  EmbeddingJob(Host& host, std::shared_ptr<Exchange> exchange)
      : host_(host), exchange_(std::move(exchange)) {}

  ApiResult<void> Read();
  /// Asks for the next input's vector: one at a time, so that answers go on between them.
  void Next();

 private:
  void Hear(Result<std::vector<float>> vector);
  void Respond();
  /// Of the model or the adapter that answers.
  const std::string& ModelName() const { return AnsweringName(host_.model, adapter_); }
  void Refuse(const ApiError& error) { exchange_->Respond(ErrorResponse(error)); }

  Host& host_;
  std::shared_ptr<Exchange> exchange_;
  std::string model_;
  int32_t adapter_ = 0;  // the engine's number of it
  bool base64_ = false, gone_ = false;
  std::vector<std::vector<int32_t>> inputs_;
  Vectors vectors_;
};

ApiResult<void> EmbeddingJob::Read() {
  const auto body = ParseBody(exchange_->request().body);
  if (!body) return tl::unexpected(body.error());
  const auto asked = ParseEmbeddingsRequest(*body);
  if (!asked) return tl::unexpected(asked.error());
  model_ = asked->model;
  base64_ = asked->base64;
  const auto adapter = ChooseAdapter(host_, model_, asked->adapter);
  if (!adapter) return tl::unexpected(adapter.error());
  adapter_ = *adapter;
  if (adapter_ > 0) exchange_->record().adapter = ModelName();
  for (const PromptText& text : asked->inputs) {
    auto request = RenderPrompt(host_, text);
    if (!request) return tl::unexpected(request.error());
    if (static_cast<int64_t>(request->prompt.size()) > host_.model.context) {
      return tl::unexpected(ApiError{400,
                                     fmt::format("This model's maximum context length is {} "
                                                 "tokens, the input has {}",
                                                 host_.model.context, request->prompt.size()),
                                     "input", "context_length_exceeded"});
    }
    if (host_.log_texts)
      exchange_->record().prompts.push_back(TextOf(host_.tokenizer, request->prompt));
    exchange_->record().prompt_tokens += static_cast<int64_t>(request->prompt.size());
    inputs_.push_back(std::move(request->prompt));
  }
  const Wish wish{ModelName(), exchange_->record().prompt_tokens};
  if (auto admitted = AccountFor(host_, exchange_, wish); !admitted) {
    return tl::unexpected(admitted.error());
  }
  exchange_->OnGone([self = shared_from_this()] { self->gone_ = true; });
  return {};
}

void EmbeddingJob::Next() {
  const std::vector<int32_t>& ids = inputs_[vectors_.size()];
  const auto taken = host_.engine.Run([self = shared_from_this(), &ids](Engine* engine) {
    Result<std::vector<float>> vector = Err(ErrorCode::kCancelled, "the server is shutting down");
    if (engine != nullptr) vector = engine->MeanHidden(ids, self->adapter_);
    self->host_.post([self, vector = std::move(vector)] { self->Hear(vector); });
  });
  if (!taken) Refuse(RefusalError(taken.error()));
}

void EmbeddingJob::Hear(Result<std::vector<float>> vector) {
  if (gone_) return;
  if (!vector) {
    const int status = vector.error().code == ErrorCode::kCancelled         ? 503
                       : vector.error().code == ErrorCode::kInvalidArgument ? 400
                                                                            : 500;
    return Refuse({status, vector.error().message});
  }
  Normalise(*vector);
  vectors_.push_back(*std::move(vector));
  vectors_.size() < inputs_.size() ? Next() : Respond();
}

void EmbeddingJob::Respond() {
  Json data = Json::array();
  for (size_t i = 0; i < vectors_.size(); ++i) {
    Json embedding = base64_ ? Json(Base64(vectors_[i])) : Json(vectors_[i]);
    data.push_back({{"object", "embedding"}, {"index", i}, {"embedding", std::move(embedding)}});
  }
  const int64_t tokens = exchange_->record().prompt_tokens;
  HttpResponse response;
  response.body = Dump({{"object", "list"},
                        {"data", std::move(data)},
                        {"model", model_.empty() ? ModelName() : model_},
                        {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}}) +
                  "\n";
  exchange_->Respond(std::move(response));
}

}  // namespace

void StartEmbeddings(Host& host, const std::shared_ptr<Exchange>& exchange) {
  const auto job = std::make_shared<EmbeddingJob>(host, exchange);
  if (const auto read = job->Read(); !read) return exchange->Respond(ErrorResponse(read.error()));
  job->Next();
}

}  // namespace octet
