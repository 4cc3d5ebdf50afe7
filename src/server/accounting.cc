#include "server/accounting.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "server/answer.h"
#include "service/bookkeeper.h"

namespace octet {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

constexpr int64_t kSecond = 1000;  // milliseconds

Headers LimitHeaders(const Bookkeeper& books, int64_t key) {
  Headers headers;
  for (const LimitState& state : books.Limits(key)) {
    const auto add = [&](const char* what, std::string value) {
      headers.emplace_back(fmt::format("x-ratelimit-{}-{}", what, state.name), std::move(value));
    };
    add("limit", std::to_string(state.limit));
    add("remaining", std::to_string(state.remaining));
    add("reset", fmt::format("{}.{:03}s", state.reset_ms / kSecond, state.reset_ms % kSecond));
  }
  return headers;
}

TokenCount Tokens(const RequestRecord& record) {
  return {record.prompt_tokens, record.cached_tokens, record.completion_tokens};
}

/// Stands before a request's own exchange. What the ledger's thread reports is taken up on the
/// server's.
class AccountedExchange : public Exchange, public std::enable_shared_from_this<AccountedExchange> {
 public:
  AccountedExchange(Host& host, std::shared_ptr<Exchange> inner)
      : host_(host), inner_(std::move(inner)) {}

  /// What hears of the row's beginning.
  WhenDurable Begun() {
    return [self = shared_from_this()](bool ok) {
      self->host_.post([self, ok] { self->OnBegun(ok); });
    };
  }
  void Start(Ticket ticket) {
    ticket_ = std::move(ticket);
    inner_->OnGone([self = shared_from_this()] { self->Gone(); });
  }

  const HttpRequest& request() const override { return inner_->request(); }
  RequestRecord& record() override { return inner_->record(); }

  void Respond(HttpResponse response) override {
    if (std::exchange(ended_, true)) return;
    held_.clear();
    AddLimits(response);
    const bool failed = response.status >= 400;
    Settle(failed ? "failed" : "answered", response.status,
           [response](AccountedExchange& self, bool ok) {
             self.inner_->Respond(ok ? response : self.CannotRecord());
           });
  }
  void BeginStream(HttpResponse head) override {
    AddLimits(head);
    WhenBegun([this, head] {
      head_sent_ = true;
      inner_->BeginStream(head);
    });
  }
  void Write(std::string_view piece) override {
    if (piece.empty()) return;
    host_.books->Progress(ticket_, Tokens(record()));
    WhenBegun([this, piece = std::string(piece)] { inner_->Write(piece); });
  }
  void EndStream(std::string_view last) override {
    if (std::exchange(ended_, true)) return;
    const bool failed = record().failed;
    Settle(failed ? "failed" : "answered", failed ? 500 : 200,
           [last = std::string(last)](AccountedExchange& self, bool ok) {
             if (!ok && !self.head_sent_) return self.inner_->Respond(self.CannotRecord());
             self.inner_->EndStream(ok ? last : self.CannotRecordEvent());
           });
  }
  void OnGone(std::function<void()> callback) override {
    if (gone_) return callback();
    on_gone_ = std::move(callback);
  }

 private:
  using Then = std::function<void(AccountedExchange&, bool ok)>;

  /// Order is kept: the ledger reports rows' beginnings before their ends.
  void WhenBegun(std::function<void()> work) {
    if (ended_) return;
    if (begun_) return work();
    held_.push_back(std::move(work));
  }
  void OnBegun(bool ok) {
    begun_ = ok;
    std::vector<std::function<void()>> held;
    held.swap(held_);
    if (ok) {
      for (const auto& work : held) work();
      return;
    }
    if (std::exchange(ended_, true)) return;
    if (auto cancel = std::exchange(on_gone_, nullptr)) cancel();
    Settle("failed", 503, {});
    inner_->Respond(CannotRecord());
  }
  void Gone() {
    gone_ = true;
    if (std::exchange(ended_, true)) return;
    if (auto cancel = std::exchange(on_gone_, nullptr)) cancel();
    Settle("gone", record().status == 0 ? 499 : record().status, {});
  }
  void Settle(std::string_view state, int status, Then then) {
    on_gone_ = nullptr;
    WhenDurable done;
    if (then) {
      done = [self = shared_from_this(), then = std::move(then)](bool ok) {
        self->host_.post([self, then, ok] { then(*self, ok); });
      };
    }
    host_.books->Settle(ticket_, {Tokens(record()), status, state, record().finish},
                        std::move(done));
  }
  void AddLimits(HttpResponse& response) const {
    for (auto& header : LimitHeaders(*host_.books, ticket_.key)) {
      response.headers.push_back(std::move(header));
    }
  }
  ApiError RecordError() const {
    return {503, "the answer is kept back: its usage cannot be recorded"};
  }
  bool anthropic() const { return request().path.starts_with("/v1/messages"); }
  HttpResponse CannotRecord() const { return ErrorResponse(RecordError(), anthropic()); }
  std::string CannotRecordEvent() const {
    std::string out;
    const ApiError error = RecordError();
    AppendEvent(anthropic() ? AnthropicError(error) : OpenAiError(error), out,
                anthropic() ? "error" : nullptr);
    return out;
  }

  Host& host_;
  std::shared_ptr<Exchange> inner_;
  Ticket ticket_;
  bool begun_ = false;  // its row is on disk
  bool head_sent_ = false, ended_ = false, gone_ = false;
  std::vector<std::function<void()>> held_;  // until it is
  std::function<void()> on_gone_;
};

ApiError LimitError(const Bookkeeper& books, int64_t key, const LimitRefusal& refusal) {
  if (refusal.never) return {400, refusal.message, "max_tokens", "rate_limit_exceeded"};
  ApiError error{429, refusal.message, "", "rate_limit_exceeded", LimitHeaders(books, key)};
  const int64_t seconds = (refusal.retry_ms + kSecond - 1) / kSecond;
  error.headers.emplace_back("retry-after", std::to_string(seconds));
  return error;
}

}  // namespace

ApiResult<std::optional<int64_t>> AccountFor(Host& host, std::shared_ptr<Exchange>& exchange,
                                             const Wish& wish) {
  if (host.books == nullptr) return wish.most_each;
  const RequestRecord& record = exchange->record();
  Admission admission;
  admission.entry = {
      record.id,         record.key, record.client, wish.model, exchange->request().path,
      wish.prompt_tokens};
  admission.base_model = host.model.names.front();
  admission.least_completion = wish.choices;
  admission.completion_room = wish.choices * wish.room_each;
  if (wish.most_each) {
    admission.most_completion = wish.choices * std::min(wish.room_each, *wish.most_each);
  }
  auto accounted = std::make_shared<AccountedExchange>(host, exchange);
  LimitRefusal refusal;
  auto ticket = host.books->Admit(std::move(admission), accounted->Begun(), refusal);
  if (!ticket) return tl::unexpected(LimitError(*host.books, record.key, refusal));
  const int64_t granted = wish.choices == 0 ? 0 : ticket->completion / wish.choices;
  exchange = accounted;
  accounted->Start(*std::move(ticket));
  return wish.most_each ? wish.most_each : std::optional(granted);
}

}  // namespace octet
