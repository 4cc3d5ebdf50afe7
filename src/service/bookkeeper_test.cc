#include "service/bookkeeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "support/temp_folder.h"

namespace octet {
namespace {

struct Books {
  testing::TempFolder folder;
  std::filesystem::path path = folder.path() / "accounts.db";
  AccountStore store = *AccountStore::Open(path, true);

  /// The ledger's rows in their order, a column of each.
  std::vector<std::string> Column(const std::string& column) {
    auto rows = *store.database().Prepare("SELECT " + column + " FROM requests ORDER BY id");
    std::vector<std::string> values;
    for (bool more = *rows.Start(); more; more = *rows.Step()) values.push_back(rows.Text(0));
    return values;
  }
};

Admission Asking(int64_t key, int64_t prompt, std::optional<int64_t> completion) {
  return {{"id", key, "client", "model", "/v1/completions", prompt}, 1, 500, completion};
}

Settlement Answered(const TokenCount& tokens) { return {tokens, 200, "answered", "stop"}; }

TEST(Bookkeeper, HasTheRowOnDiskWhenItSaysSo) {
  Books books;
  auto keeper = *Bookkeeper::Open(books.path);
  LimitRefusal refusal;
  std::promise<bool> begun, ended;
  const auto ticket = keeper->Admit(
      Asking(0, 7, 20), [&](bool ok) { begun.set_value(ok); }, refusal);
  ASSERT_TRUE(ticket);
  EXPECT_TRUE(begun.get_future().get());
  EXPECT_THAT(books.Column("state"), ::testing::ElementsAre("open"));
  keeper->Settle(*ticket, Answered({7, 2, 9}), [&](bool ok) { ended.set_value(ok); });
  EXPECT_TRUE(ended.get_future().get());
  EXPECT_THAT(books.Column("state || status || completion_tokens"),
              ::testing::ElementsAre("answered2009"));
}

TEST(Bookkeeper, ClosesWhatTheLastServerLeftOpen) {
  Books books;
  {
    ASSERT_TRUE(Bookkeeper::Open(books.path));
    ASSERT_TRUE(books.store.database().Execute(
        "INSERT INTO requests (id, request, key, client, model, path, started, prompt_tokens, "
        "completion_tokens) VALUES (5, 'a', 0, 'c', 'm', '/', 1000, 10, 3)"));
  }
  auto keeper = *Bookkeeper::Open(books.path);
  EXPECT_THAT(books.Column("state || completion_tokens"), ::testing::ElementsAre("interrupted3"));
  LimitRefusal refusal;
  EXPECT_EQ(keeper->Admit(Asking(0, 1, 1), {}, refusal)->row, 6);
}

TEST(Bookkeeper, WritesManyRowsOfManyThreadsOnceEach) {
  Books books;
  constexpr int kThreads = 8, kEach = 50;
  std::atomic<int> durable = 0;
  {
    auto keeper = *Bookkeeper::Open(books.path);
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        LimitRefusal refusal;
        for (int i = 0; i < kEach; ++i) {
          const auto ticket = keeper->Admit(Asking(0, 3, 4), {}, refusal);
          keeper->Progress(*ticket, {3, 0, 1});
          keeper->Settle(*ticket, Answered({3, 0, 2}), [&](bool ok) { durable += ok; });
        }
      });
    }
  }
  EXPECT_EQ(durable, kThreads * kEach) << "also what is in hand at the end";
  const auto rows = *books.store.Usage({UsageBy::kModel});
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].answered, kThreads * kEach);
  EXPECT_EQ(rows[0].completion_tokens, 2 * kThreads * kEach);
}

TEST(Bookkeeper, HoldsLimitsAcrossThreadsAndRestarts) {
  Books books;
  const auto made = *books.store.AddKey("key", {10, 0, 0, 1000});
  std::atomic<int> admitted = 0;
  for (int round = 0; round < 2; ++round) {
    auto keeper = *Bookkeeper::Open(books.path);
    ASSERT_TRUE(keeper->Find(made.secret));
    EXPECT_FALSE(keeper->Find(made.secret + "x"));
    std::vector<std::jthread> threads;
    for (int t = 0; t < 32; ++t) {
      threads.emplace_back([&] {
        LimitRefusal refusal;
        const auto ticket = keeper->Admit(Asking(made.key.id, 3, 4), {}, refusal);
        if (!ticket) return;
        ++admitted;
        keeper->Settle(*ticket, Answered({3, 0, 2}), {});
      });
    }
  }
  EXPECT_EQ(admitted, 10);
}

TEST(Bookkeeper, BoundsAnAnswerWithoutABoundByWhatIsLeft) {
  Books books;
  const auto made = *books.store.AddKey("key", {0, 0, 0, 100});
  auto keeper = *Bookkeeper::Open(books.path);
  LimitRefusal refusal;
  const auto ticket = keeper->Admit(Asking(made.key.id, 30, std::nullopt), {}, refusal);
  ASSERT_TRUE(ticket);
  EXPECT_EQ(ticket->completion, 70);
  EXPECT_FALSE(keeper->Admit(Asking(made.key.id, 30, std::nullopt), {}, refusal));
  keeper->Settle(*ticket, {{30, 0, 0}, 500, "failed"}, {});
  EXPECT_TRUE(keeper->Admit(Asking(made.key.id, 30, 70), {}, refusal)) << "given back";
}

TEST(Bookkeeper, KnowsKeysAndPricesOthersChange) {
  Books books;
  auto keeper = *Bookkeeper::Open(books.path);
  const auto made = *books.store.AddKey("late", {});
  ASSERT_TRUE(books.store.SetPrice({"", 1'000'000, 0, 2'000'000}));
  const auto eventually = [&](bool expected) {
    for (int i = 0; i < 500 && keeper->Find(made.secret).has_value() != expected; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return keeper->Find(made.secret).has_value() == expected;
  };
  ASSERT_TRUE(eventually(true));
  LimitRefusal refusal;
  std::promise<bool> ended;
  const auto ticket = keeper->Admit(Asking(made.key.id, 10, 10), {}, refusal);
  keeper->Settle(*ticket, Answered({10, 0, 5}), [&](bool ok) { ended.set_value(ok); });
  ASSERT_TRUE(ended.get_future().get());
  EXPECT_THAT(books.Column("cost"), ::testing::ElementsAre("20000"));
  ASSERT_TRUE(books.store.Revoke("late"));
  EXPECT_TRUE(eventually(false));
}

TEST(Bookkeeper, RefusesASecondServer) {
  Books books;
  auto keeper = *Bookkeeper::Open(books.path);
  const auto second = Bookkeeper::Open(books.path);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, ::testing::HasSubstr("another server"));
}

}  // namespace
}  // namespace octet
