#include "server/generation_job.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <utility>

#include "server/accounting.h"
#include "server/octet_fields.h"

namespace octet {
namespace {

using Clock = std::chrono::steady_clock;

int64_t UnixTime() {
  using std::chrono::system_clock;
  return std::chrono::duration_cast<std::chrono::seconds>(system_clock::now().time_since_epoch())
      .count();
}

class GenerationJob : public std::enable_shared_from_this<GenerationJob> {
 public:
  GenerationJob(Host& host, std::shared_ptr<Exchange> exchange, std::unique_ptr<AnswerForm> form)
      : host_(host), exchange_(std::move(exchange)), form_(std::move(form)) {}

  void Start(GenerationRequest request);

 private:
  ApiResult<std::vector<Request>> Render(const GenerationRequest& request);
  ApiResult<void> Prepare(GenerationRequest request, std::vector<Request>& prompts);
  ApiResult<void> Admit();
  ApiResult<void> Submit(const std::vector<Request>& prompts);
  /// Of the model or the adapter that answers.
  const std::string& ModelName() const { return AnsweringName(host_.model, adapter_); }
  void HearAll(size_t choice, std::vector<Event>& events);
  void Hear(size_t choice, const Event& event);
  void Count(size_t choice, const Event& event);
  void Finish(std::string out);
  void Refuse(const ApiError& error);
  void Cancel();
  void LogAnswers();

  Host& host_;
  std::shared_ptr<Exchange> exchange_;
  std::unique_ptr<AnswerForm> form_;
  Answer answer_;
  int32_t adapter_ = 0;                        // the engine's number of it
  std::vector<uint64_t> engine_ids_;           // [choices submitted]
  std::vector<Clock::time_point> last_token_;  // [choices]
  size_t open_ = 0;                            // choices that are not finished
  bool over_ = false;                          // answered, refused, or nobody listens
  Clock::time_point start_ = Clock::now();
};

void GenerationJob::Start(GenerationRequest request) {
  std::vector<Request> prompts;
  if (const auto prepared = Prepare(std::move(request), prompts); !prepared) {
    return Refuse(prepared.error());
  }
  if (const auto admitted = Admit(); !admitted) return Refuse(admitted.error());
  if (const auto submitted = Submit(prompts); !submitted) return Refuse(submitted.error());
  exchange_->OnGone([self = shared_from_this()] { self->Cancel(); });
  if (!answer_.request.stream) return;
  HttpResponse head;
  head.content_type = "text/event-stream; charset=utf-8";
  head.headers = {{"cache-control", "no-store"}, {"x-accel-buffering", "no"}};
  exchange_->BeginStream(std::move(head));
  std::string out;
  form_->Begin(answer_, out);
  exchange_->Write(out);
}

ApiResult<std::vector<Request>> GenerationJob::Render(const GenerationRequest& request) {
  std::vector<Request> prompts;
  if (!request.messages.empty()) {
    auto rendered = RenderMessages(host_, request);
    if (!rendered) return tl::unexpected(rendered.error());
    prompts.push_back(*std::move(rendered));
  }
  for (const PromptText& prompt : request.prompts) {
    auto rendered = RenderPrompt(host_, prompt);
    if (!rendered) return tl::unexpected(rendered.error());
    prompts.push_back(*std::move(rendered));
    if (!request.echo) continue;
    const auto* text = std::get_if<std::string>(&prompt);
    answer_.prompt_texts.push_back(
        text != nullptr ? *text : host_.tokenizer.Decode(std::get<std::vector<int32_t>>(prompt)));
  }
  return prompts;
}

ApiResult<void> GenerationJob::Prepare(GenerationRequest request, std::vector<Request>& prompts) {
  const auto adapter = ChooseAdapter(host_, request.model, request.adapter);
  if (!adapter) return tl::unexpected(adapter.error());
  adapter_ = *adapter;
  if (adapter_ > 0) exchange_->record().adapter = ModelName();
  if (!request.has_seed) request.sampling.seed = std::random_device{}();
  auto rendered = Render(request);
  if (!rendered) return tl::unexpected(rendered.error());
  prompts = *std::move(rendered);
  const auto controls =
      ControlsOf(request, host_.engine.config().n_layers, host_.engine.config().n_experts);
  if (!controls) return tl::unexpected(controls.error());
  answer_.id = form_->id_prefix() + exchange_->record().id;
  answer_.model = request.model.empty() ? ModelName() : request.model;
  answer_.created = UnixTime();
  for (size_t p = 0; p < prompts.size(); ++p) {
    const auto tokens = static_cast<int64_t>(prompts[p].prompt.size());
    if (tokens >= host_.model.context) {
      return tl::unexpected(ApiError{
          400,
          fmt::format("This model's maximum context length is {} tokens, prompt and answer "
                      "together; the prompt has {}",
                      host_.model.context, tokens),
          request.messages.empty() ? "prompt" : "messages", "context_length_exceeded"});
    }
    if (request.echo && request.top_logprobs >= 0) {
      prompts[p].prompt_logprobs = request.top_logprobs;
      answer_.prompt_ids.push_back(prompts[p].prompt);
    }
    prompts[p].experts = *controls;
    prompts[p].adapter = adapter_;
    answer_.prompt_tokens.push_back(tokens);
    for (int32_t i = 0; i < request.n; ++i) {
      Choice choice;
      choice.index = static_cast<int32_t>(answer_.choices.size());
      choice.prompt = static_cast<int32_t>(p);
      choice.tools = ToolCallReader(
          fmt::format("{}{}_{}_", form_->call_prefix(), exchange_->record().id, choice.index));
      answer_.choices.push_back(std::move(choice));
    }
  }
  if (host_.log_texts) {
    for (const Request& prompt : prompts)
      exchange_->record().prompts.push_back(TextOf(host_.tokenizer, prompt.prompt));
  }
  answer_.request = std::move(request);
  exchange_->record().prompt_tokens = answer_.PromptTokens();
  return {};
}

ApiResult<void> GenerationJob::Admit() {
  Wish wish;
  wish.model = ModelName();
  wish.prompt_tokens = answer_.PromptTokens();
  wish.most_each = answer_.request.max_tokens;
  wish.choices = wish.most_each == 0 ? 0 : static_cast<int64_t>(answer_.choices.size());
  wish.room_each = host_.model.context - *std::ranges::min_element(answer_.prompt_tokens);
  const auto most_each = AccountFor(host_, exchange_, wish);
  if (!most_each) return tl::unexpected(most_each.error());
  answer_.request.max_tokens = *most_each;
  return {};
}

ApiResult<void> GenerationJob::Submit(const std::vector<Request>& prompts) {
  const GenerationRequest& asked = answer_.request;
  open_ = answer_.choices.size();
  last_token_.resize(open_, start_);
  for (const Choice& choice : answer_.choices) {
    Request request = prompts[static_cast<size_t>(choice.prompt)];
    // A text that is the chat format's end may stand inside what a constraint asks for.
    if (asked.constraint.kind != Constraint::Kind::kNone && !asked.calls_tools) {
      request.stop_strings.clear();
    }
    request.sampling = asked.sampling;
    request.sampling.stream = static_cast<uint64_t>(choice.index % asked.n);
    request.max_tokens = asked.max_tokens.value_or(host_.model.context);
    request.stop_strings.insert(request.stop_strings.end(), asked.stop.begin(), asked.stop.end());
    request.top_logprobs = asked.top_logprobs;
    request.constraint = asked.constraint;
    request.priority = asked.priority;
    request.trace = asked.trace;
    request.client = exchange_->record().client;
    if (host_.request_timeout.count() > 0) request.deadline = start_ + host_.request_timeout;
    auto hear = [self = shared_from_this(),
                 index = static_cast<size_t>(choice.index)](std::vector<Event>& events) {
      self->host_.post_from_sink([self, index, events = std::exchange(events, {})]() mutable {
        self->HearAll(index, events);
      });
    };
    const auto id = host_.engine.Submit(std::move(request), std::move(hear));
    if (!id) return tl::unexpected(RefusalError(id.error()));
    engine_ids_.push_back(*id);
  }
  return {};
}

/// Texts that came together are sent as one, where nobody asks for single tokens.
void GenerationJob::HearAll(size_t index, std::vector<Event>& events) {
  const GenerationRequest& asked = answer_.request;
  const bool together =
      asked.stream && asked.top_logprobs < 0 && asked.trace == RoutingTrace::kNone;
  std::string text;
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    if (!together) {
      Hear(index, events[i]);
    } else if (!over_) {
      Count(index, events[i]);
      text += events[i].text;
    }
  }
  Event& last = events.back();
  if (!text.empty()) last.text.insert(0, text);
  Hear(index, last);
}

void GenerationJob::Count(size_t index, const Event& event) {
  if (event.token < 0) return;
  Choice& choice = answer_.choices[index];
  const double waited = std::chrono::duration<double>(event.at - last_token_[index]).count();
  ++exchange_->record().completion_tokens;
  if (choice.tokens++ == 0) {
    host_.metrics.FirstToken(waited);
    if (exchange_->record().first_token_s < 0) exchange_->record().first_token_s = waited;
  } else {
    host_.metrics.NextToken(waited);
  }
  last_token_[index] = event.at;
  choice.last_token_s = std::chrono::duration<double>(event.at - start_).count();
  if (choice.tokens == 1) choice.first_token_s = choice.last_token_s;
  choice.weight_bytes += event.weight_bytes;
}

void GenerationJob::Hear(size_t index, const Event& event) {
  Choice& choice = answer_.choices[index];
  if (event.finish) --open_;
  if (over_) return;
  Piece piece{event.token, event.text, event.logprob, event.top_logprobs, event.routing};
  std::vector<ToolDelta> deltas;
  if (answer_.request.calls_tools) {
    piece.text.clear();
    choice.tools.Push(event.text, piece.text, deltas);
    if (event.finish) choice.tools.Flush(piece.text);
  }
  choice.text += piece.text;
  if (host_.log_texts) choice.said += event.text;
  Count(index, event);
  std::string out;
  if (!std::exchange(choice.begun, true) && answer_.judges_prompts()) {
    choice.judged = event.prompt;
    if (answer_.request.stream) form_->AddPrompt(answer_, choice, out);
  }
  const bool each_token =
      answer_.request.top_logprobs >= 0 || answer_.request.trace != RoutingTrace::kNone;
  if (answer_.request.stream && (!piece.text.empty() || (each_token && piece.token >= 0))) {
    form_->Add(answer_, choice, piece, out);
  }
  if (answer_.request.stream && !deltas.empty()) form_->AddCalls(answer_, choice, deltas, out);
  if (each_token && !answer_.request.stream) choice.pieces.push_back(std::move(piece));
  if (event.finish) {
    choice.finish = event.finish;
    choice.stop = event.stop;
    choice.cached_tokens = event.cached_tokens;
    if (answer_.request.stream && event.finish != FinishReason::kError &&
        event.finish != FinishReason::kCancelled) {
      form_->EndChoice(answer_, choice, out);
    }
  }
  if (event.finish == FinishReason::kError || open_ == 0) return Finish(std::move(out));
  if (!out.empty()) exchange_->Write(out);
}

/// `out`: what of the stream is not sent yet.
void GenerationJob::Finish(std::string out) {
  const auto ended = [&](FinishReason reason) {
    return std::ranges::any_of(answer_.choices,
                               [&](const Choice& c) { return c.finish == reason; });
  };
  if (ended(FinishReason::kCancelled)) return Refuse({503, "the server is shutting down"});
  if (ended(FinishReason::kError)) {
    return Refuse({500,
                   "no token has a finite logit; the weights are damaged, or every token is "
                   "banned by logit_bias"});
  }
  RequestRecord& record = exchange_->record();
  LogAnswers();
  record.cached_tokens = answer_.CachedTokens();
  record.completion_tokens = answer_.CompletionTokens();
  record.finish = FinishReasonName(*answer_.choices.front().finish);
  over_ = true;
  if (!answer_.request.stream) {
    HttpResponse response;
    response.body = Dump(form_->Whole(answer_)) + "\n";
    return exchange_->Respond(std::move(response));
  }
  form_->End(answer_, out);
  exchange_->EndStream(out);
}

/// Ends the request with an error, whether or not its stream has begun.
void GenerationJob::Refuse(const ApiError& error) {
  const bool streaming = exchange_->record().status != 0;
  Cancel();
  if (!streaming) return exchange_->Respond(ErrorResponse(error, form_->is_anthropic()));
  std::string out;
  form_->Fail(error, out);
  exchange_->record().failed = true;
  exchange_->EndStream(out);
}

void GenerationJob::LogAnswers() {
  if (!host_.log_texts) return;
  for (const Choice& choice : answer_.choices) exchange_->record().answers.push_back(choice.said);
}

void GenerationJob::Cancel() {
  if (over_) return;
  over_ = true;
  LogAnswers();
  exchange_->record().completion_tokens = answer_.CompletionTokens();
  if (open_ == 0) return;
  for (const uint64_t id : engine_ids_) host_.engine.Cancel(id);
}

}  // namespace

void StartGeneration(Host& host, std::shared_ptr<Exchange> exchange, GenerationRequest request,
                     std::unique_ptr<AnswerForm> form) {
  std::make_shared<GenerationJob>(host, std::move(exchange), std::move(form))
      ->Start(std::move(request));
}

ApiResult<Request> RenderMessages(const Host& host, const GenerationRequest& request) {
  auto chat = RenderChat(host.chat_format, request.messages, host.tokenizer,
                         {.continue_last = request.continue_last});
  if (!chat) return tl::unexpected(ApiError{400, chat.error().message, "messages"});
  Request out;
  out.prompt = std::move(chat->ids);
  out.stop_strings = std::move(chat->stop_strings);
  out.stop_ids = std::move(chat->stop_ids);
  out.at_text_start = host.chat_format != ChatFormat::kRaw && !request.continue_last;
  return out;
}

ApiResult<Request> RenderPrompt(const Host& host, const PromptText& prompt) {
  const Vocabulary& vocabulary = host.tokenizer.vocabulary();
  Request out;
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) {
    out.prompt = *ids;
  } else {
    if (vocabulary.add_bos && vocabulary.bos >= 0) out.prompt.push_back(vocabulary.bos);
    const std::vector<int32_t> encoded = host.tokenizer.Encode(std::get<std::string>(prompt));
    out.prompt.insert(out.prompt.end(), encoded.begin(), encoded.end());
  }
  if (out.prompt.empty()) return tl::unexpected(ApiError{400, "the prompt is empty", "prompt"});
  out.at_text_start = out.prompt.size() == 1 && out.prompt.front() == vocabulary.bos;
  return out;
}

}  // namespace octet
