#include "service/account_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "service/api_secret.h"
#include "support/temp_folder.h"

namespace octet {
namespace {

using ::testing::HasSubstr;

struct Accounts {
  testing::TempFolder folder;
  std::filesystem::path path = folder.path() / "accounts.db";
  AccountStore store = *AccountStore::Open(path, true);
};

TEST(AccountStore, KeepsAKeyButNotItsSecret) {
  Accounts accounts;
  const KeyLimits limits{60, 10'000, 1000, 500'000};
  const auto made = accounts.store.AddKey("Lily", limits);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->secret.size(), 49u);
  EXPECT_EQ(made->secret.substr(0, 12), made->key.prefix);
  std::string found;
  auto again = *AccountStore::Open(accounts.path, false);
  const auto keys =
      again.Keys([&](const ApiKey& key, const std::string& hash) { found = key.name + hash; });
  ASSERT_EQ(keys->size(), 1u);
  EXPECT_EQ(found, "Lily" + HashApiSecret(made->secret));
  EXPECT_EQ(keys->front().limits.tokens_per_day, 500'000);
  for (const char* end : {"", "-wal"}) {
    std::ifstream file(accounts.path.string() + end, std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    EXPECT_EQ(bytes.find(made->secret.substr(12)), std::string::npos);
  }
  const auto mode = std::filesystem::status(accounts.path).permissions();
  EXPECT_EQ(mode & (std::filesystem::perms::group_all | std::filesystem::perms::others_all),
            std::filesystem::perms::none);
}

TEST(AccountStore, RevokesByNameOrPrefixAndFreesTheName) {
  Accounts accounts;
  const auto made = accounts.store.AddKey("Tom", {});
  EXPECT_THAT(accounts.store.AddKey("Tom", {}).error().message, HasSubstr("revoke it first"));
  EXPECT_TRUE(accounts.store.Revoke(made->key.prefix));
  EXPECT_EQ(accounts.store.Revoke("Tom").error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(accounts.store.AddKey("Tom", {}));
  int valid = 0;
  EXPECT_EQ(accounts.store.Keys()->size(), 2u);
  EXPECT_EQ(accounts.store.Keys([&](const ApiKey&, const std::string&) { ++valid; })->size(), 1u);
  EXPECT_EQ(valid, 1);
}

TEST(AccountStore, RefusesWhatCannotBe) {
  Accounts accounts;
  EXPECT_FALSE(accounts.store.AddKey("", {}));
  EXPECT_FALSE(accounts.store.AddKey("a\nb", {}));
  EXPECT_FALSE(accounts.store.AddKey("x", {-1}));
  EXPECT_FALSE(accounts.store.Usage({UsageBy::kDay, "yesterday", ""}));
  EXPECT_EQ(AccountStore::Open(accounts.folder.path() / "none", false).error().code,
            ErrorCode::kNotFound);
  const auto text = accounts.folder.path() / "text";
  std::ofstream(text) << std::string(8192, 'x');
  EXPECT_EQ(AccountStore::Open(text, true).error().code, ErrorCode::kCorrupt);
  const auto other = accounts.folder.path() / "other";
  ASSERT_TRUE(Database::Open(other, true)->Execute("CREATE TABLE keys (a)"));
  EXPECT_THAT(AccountStore::Open(other, true).error().message, HasSubstr("another program"));
}

TEST(AccountStore, PricesToTheBillionth) {
  const MicroPrice price{"", 500'000, 50'000, 1'500'000};
  // 600 new prompt tokens at 0.5, 400 cached at 0.05, 100 of the answer at 1.5, per million.
  EXPECT_EQ(CostNano(price, {1000, 400, 100}), 300'000 + 20'000 + 150'000);
  EXPECT_EQ(CostNano({"", 1, 0, 0}, {499, 0, 0}), 0);
  EXPECT_EQ(CostNano({"", 1, 0, 0}, {500, 0, 0}), 1);
}

}  // namespace
}  // namespace octet
