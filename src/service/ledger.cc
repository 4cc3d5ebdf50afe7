#include "service/ledger.h"

#include <chrono>
#include <iterator>
#include <utility>

namespace octet {
namespace {

using Clock = std::chrono::steady_clock;
/// How often open rows' counts are written, and the file is asked whether keys or prices changed.
constexpr std::chrono::seconds kRound{1};
constexpr std::chrono::milliseconds kRetry{200};

}  // namespace

Ledger::Ledger(AccountStore store, WhenChanged changed)
    : store_(std::move(store)), changed_(std::move(changed)) {}

Result<std::unique_ptr<Ledger>> Ledger::Open(AccountStore store, WhenChanged changed) {
  std::unique_ptr<Ledger> ledger(new Ledger(std::move(store), std::move(changed)));
  OCTET_TRY(ledger->Prepare());
  ledger->thread_ = std::thread([raw = ledger.get()] { raw->Loop(); });
  return ledger;
}

Ledger::~Ledger() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

Status Ledger::Prepare() {
  Database& database = store_.database();
  OCTET_ASSIGN(Statement close, database.Prepare("UPDATE requests SET state = 'interrupted', "
                                                 "ended = ? WHERE state = 'open'"));
  OCTET_TRY(close.Run(UnixMilliseconds()));
  OCTET_ASSIGN(Statement last, database.Prepare("SELECT max(id) FROM requests"));
  OCTET_TRY(last.Start());
  next_row_ = last.Integer(0) + 1;
  OCTET_ASSIGN(
      insert_,
      database.Prepare("INSERT OR IGNORE INTO requests (id, request, key, client, model, path, "
                       "started, prompt_tokens) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"));
  OCTET_ASSIGN(update_, database.Prepare("UPDATE requests SET cached_tokens = ?2, "
                                         "completion_tokens = ?3 WHERE id = ?1"));
  OCTET_ASSIGN(finish_, database.Prepare(
                            "UPDATE requests SET ended = ?2, state = ?3, status = ?4, finish = ?5, "
                            "prompt_tokens = ?6, cached_tokens = ?7, completion_tokens = ?8, "
                            "cost = ?9 WHERE id = ?1"));
  OCTET_ASSIGN(data_version_, store_.DataVersion());
  return ReadAccounts();
}

Status Ledger::ReadAccounts() {
  std::vector<std::string> hashes;
  OCTET_ASSIGN(std::vector<ApiKey> keys,
               store_.Keys([&](const ApiKey&, const std::string& h) { hashes.push_back(h); }));
  OCTET_ASSIGN(std::vector<MicroPrice> prices, store_.Prices());
  changed_(std::move(keys), std::move(hashes), std::move(prices));
  return {};
}

void Ledger::Push(Change change) {
  const std::lock_guard lock(mutex_);
  if (change.end) progress_.erase(change.row);
  changes_.push_back(std::move(change));
  if (changes_.size() == 1) wake_.notify_one();
}

int64_t Ledger::Begin(LedgerEntry entry, WhenDurable done) {
  Change change;
  {
    const std::lock_guard lock(mutex_);
    change.row = next_row_++;
    ++stats_.rows;
  }
  const int64_t row = change.row;
  change.begin = std::move(entry);
  change.done = std::move(done);
  Push(std::move(change));
  return row;
}

void Ledger::Progress(int64_t row, const TokenCount& tokens) {
  const std::lock_guard lock(mutex_);
  progress_[row] = tokens;
}

void Ledger::End(int64_t row, const Settlement& settlement, int64_t cost_nano, WhenDurable done) {
  Change change;
  change.row = row;
  change.end = settlement;
  change.cost_nano = cost_nano;
  change.at_ms = UnixMilliseconds();
  change.done = std::move(done);
  Push(std::move(change));
}

void Ledger::Loop() {
  auto next_round = Clock::now() + kRound;
  while (true) {
    std::vector<Change> changes;
    Counts progress;
    bool stop = false;
    {
      std::unique_lock lock(mutex_);
      // A disk that just refused is not asked again at once.
      if (!failure_.empty()) wake_.wait_for(lock, kRetry, [&] { return stopping_; });
      wake_.wait_until(lock, next_round, [&] { return stopping_ || !changes_.empty(); });
      changes.swap(changes_);
      stop = stopping_;
      if (stop || Clock::now() >= next_round) progress.swap(progress_);
    }
    if (!changes.empty() || !progress.empty()) {
      const auto start = Clock::now();
      const Status written = Write(changes, progress);
      const std::chrono::duration<double> seconds = Clock::now() - start;
      {
        const std::lock_guard lock(mutex_);
        ++stats_.commits;
        stats_.commit_s += seconds.count();
        failure_ = written ? "" : written.error().message;
      }
      for (Change& change : changes) {
        if (change.done) std::exchange(change.done, nullptr)(written.has_value());
      }
      if (!written) TryAgain(std::move(changes));
    }
    if (stop) return;
    if (Clock::now() < next_round) continue;
    next_round = Clock::now() + kRound;
    // Where it cannot be read now, what was read before holds.
    const auto version = store_.DataVersion();
    if (version && *version != data_version_ && ReadAccounts()) data_version_ = *version;
  }
}

/// Clients were told that their answers could not be recorded, and so it is written when it can be.
void Ledger::TryAgain(std::vector<Change> changes) {
  constexpr size_t kMost = 100'000;  // while every request is refused
  for (Change& change : changes) {
    if (!change.end || change.end->state != "answered") continue;
    change.end->state = "failed";
    change.end->status = 503;
    change.cost_nano = 0;
  }
  const std::lock_guard lock(mutex_);
  if (changes.size() + changes_.size() > kMost) return;
  changes_.insert(changes_.begin(), std::make_move_iterator(changes.begin()),
                  std::make_move_iterator(changes.end()));
}

Status Ledger::Write(const std::vector<Change>& changes, const Counts& progress) {
  OCTET_ASSIGN(Transaction transaction, Transaction::Begin(store_.database()));
  for (const Change& change : changes) OCTET_TRY(WriteChange(change));
  for (const auto& [row, tokens] : progress) {
    OCTET_TRY(update_->Run(row, tokens.cached, tokens.completion));
  }
  return transaction.Commit();
}

Status Ledger::WriteChange(const Change& change) {
  if (change.begin) {
    const LedgerEntry& e = *change.begin;
    return insert_->Run(change.row, e.request, e.key, e.client, e.model, e.path, e.started_ms,
                        e.prompt_tokens);
  }
  const Settlement& s = *change.end;
  return finish_->Run(change.row, change.at_ms, s.state, int64_t{s.status}, s.finish,
                      s.tokens.prompt, s.tokens.cached, s.tokens.completion, change.cost_nano);
}

LedgerStats Ledger::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

std::string Ledger::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

}  // namespace octet
