#include "service/bookkeeper.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "service/api_secret.h"

namespace octet {

Result<std::unique_ptr<Bookkeeper>> Bookkeeper::Open(const std::filesystem::path& path) {
  std::unique_ptr<Bookkeeper> keeper(new Bookkeeper());
  OCTET_ASSIGN(AccountStore store, AccountStore::Open(path, true));
  OCTET_TRY(keeper->Lock(path));
  OCTET_TRY(keeper->AddPast(store));
  auto learn = [raw = keeper.get()](std::vector<ApiKey> keys, std::vector<std::string> hashes,
                                    std::vector<MicroPrice> prices) {
    raw->Learn(std::move(keys), std::move(hashes), std::move(prices));
  };
  OCTET_ASSIGN(keeper->ledger_, Ledger::Open(std::move(store), std::move(learn)));
  return keeper;
}

Bookkeeper::~Bookkeeper() {
  ledger_.reset();
  if (lock_file_ >= 0) close(lock_file_);
}

/// Two servers would give rows the same numbers and take each other's open rows for lost ones. The
/// system lets go of the lock when a process ends, however it does.
Status Bookkeeper::Lock(const std::filesystem::path& path) {
  const std::string name = path.string() + ".lock";
  lock_file_ = open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_file_ < 0) return Err(ErrorCode::kIo, "cannot open {}: {}", name, std::strerror(errno));
  if (flock(lock_file_, LOCK_EX | LOCK_NB) == 0) return {};
  return Err(ErrorCode::kInvalidArgument,
             "another server uses the accounts file {}; give this one its own", path.string());
}

Status Bookkeeper::AddPast(AccountStore& store) {
  constexpr int64_t kMinute = 60'000, kDay = 86'400'000;
  const int64_t now = UnixMilliseconds();
  OCTET_ASSIGN(const auto minute, store.UsedSince(now - kMinute, 1000));
  for (const auto& used : minute) {
    limiter_.AddMinute(used.key, used.at_ms, used.requests, used.tokens);
  }
  OCTET_ASSIGN(const auto day, store.UsedSince(now - kDay, kMinute));
  for (const auto& used : day) {
    limiter_.AddDay(used.key, used.at_ms, used.requests, used.tokens);
  }
  return {};
}

void Bookkeeper::Learn(std::vector<ApiKey> keys, std::vector<std::string> hashes,
                       std::vector<MicroPrice> prices) {
  const std::lock_guard lock(mutex_);
  by_hash_.clear();
  limits_.clear();
  for (size_t i = 0; i < keys.size(); ++i) {
    limits_[keys[i].id] = keys[i].limits;
    by_hash_[hashes[i]] = std::move(keys[i]);
  }
  prices_ = std::move(prices);
}

std::optional<ApiKey> Bookkeeper::Find(std::string_view secret) const {
  const std::string hash = HashApiSecret(secret);
  const std::lock_guard lock(mutex_);
  const auto found = by_hash_.find(hash);
  return found == by_hash_.end() ? std::nullopt : std::optional(found->second);
}

KeyLimits Bookkeeper::LimitsOf(int64_t key) const {
  const auto found = limits_.find(key);
  return found == limits_.end() ? KeyLimits() : found->second;
}

std::optional<Ticket> Bookkeeper::Admit(Admission admission, WhenDurable done,
                                        LimitRefusal& refusal) {
  LedgerEntry& entry = admission.entry;
  entry.started_ms = UnixMilliseconds();
  Ticket ticket{0,
                entry.key,
                entry.model,
                std::move(admission.base_model),
                entry.started_ms,
                0,
                std::min(admission.completion_room,
                         admission.most_completion.value_or(admission.completion_room))};
  if (entry.key != 0) {
    const std::lock_guard lock(mutex_);
    const KeyLimits limits = LimitsOf(entry.key);
    if (!admission.most_completion) {
      const int64_t left =
          limiter_.TokensLeft(entry.key, limits, entry.started_ms) - entry.prompt_tokens;
      ticket.completion = std::min(ticket.completion, std::max(admission.least_completion, left));
    }
    ticket.reserved = entry.prompt_tokens + ticket.completion;
    if (!limiter_.Reserve(entry.key, limits, ticket.reserved, entry.started_ms, refusal)) {
      return std::nullopt;
    }
  }
  ticket.row = ledger_->Begin(std::move(entry), std::move(done));
  return ticket;
}

void Bookkeeper::Progress(const Ticket& ticket, const TokenCount& tokens) {
  ledger_->Progress(ticket.row, tokens);
}

void Bookkeeper::Settle(const Ticket& ticket, const Settlement& settlement, WhenDurable done) {
  const bool failed = settlement.state == "failed";
  const int64_t used = failed ? 0 : settlement.tokens.total();
  int64_t cost = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto of = [&](std::string_view model) {
      return std::ranges::find(prices_, model, &MicroPrice::model);
    };
    auto price = of(ticket.model);
    if (price == prices_.end() && !ticket.base_model.empty()) price = of(ticket.base_model);
    if (price == prices_.end()) price = of("");
    if (price != prices_.end() && !failed) cost = CostNano(*price, settlement.tokens);
    if (ticket.key != 0) {
      limiter_.GiveBack(ticket.key, ticket.at_ms, ticket.reserved - used, failed);
    }
  }
  if (ticket.key == 0 || failed) {
    return ledger_->End(ticket.row, settlement, cost, std::move(done));
  }
  // An answer whose row cannot be written is kept back: nothing was used.
  ledger_->End(ticket.row, settlement, cost,
               [this, used, key = ticket.key, at = ticket.at_ms, done = std::move(done)](bool ok) {
                 if (!ok) {
                   const std::lock_guard lock(mutex_);
                   limiter_.GiveBack(key, at, used, true);
                 }
                 if (done) done(ok);
               });
}

std::vector<LimitState> Bookkeeper::Limits(int64_t key) const {
  const std::lock_guard lock(mutex_);
  std::vector<LimitState> have;
  if (key == 0) return have;
  for (const LimitState& state : limiter_.States(key, LimitsOf(key), UnixMilliseconds())) {
    if (state.limit > 0) have.push_back(state);
  }
  return have;
}

}  // namespace octet
