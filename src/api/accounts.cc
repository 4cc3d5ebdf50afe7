#include "octet/accounts.h"

#include <cmath>

#include "api/guard.h"
#include "service/account_store.h"

namespace octet {
namespace {

/// Calls work(store) on the file.
template <class F>
auto OnStore(const std::filesystem::path& path, bool create, F&& work)
    -> std::invoke_result_t<F, AccountStore&> {
  return Guarded([&]() -> std::invoke_result_t<F, AccountStore&> {
    OCTET_ASSIGN(AccountStore store, AccountStore::Open(path, create));
    return work(store);
  });
}

Result<int64_t> Micro(double price) {
  constexpr double kMost = 1e6;
  if (price >= 0 && price <= kMost) return std::llround(price * 1e6);
  return Err(ErrorCode::kInvalidArgument,
             "a price is {} per million tokens, expected between 0 and {}", price, kMost);
}

}  // namespace

Result<NewApiKey> AddApiKey(const std::filesystem::path& accounts, const std::string& name,
                            const KeyLimits& limits) {
  return OnStore(accounts, true, [&](AccountStore& store) { return store.AddKey(name, limits); });
}

Result<std::vector<ApiKey>> ListApiKeys(const std::filesystem::path& accounts) {
  return OnStore(accounts, false, [](AccountStore& store) { return store.Keys(); });
}

Result<ApiKey> RevokeApiKey(const std::filesystem::path& accounts, const std::string& which) {
  return OnStore(accounts, false, [&](AccountStore& store) { return store.Revoke(which); });
}

Result<ApiKey> SetApiKeyLimits(const std::filesystem::path& accounts, const std::string& which,
                               const KeyLimits& limits) {
  return OnStore(accounts, false,
                 [&](AccountStore& store) { return store.SetLimits(which, limits); });
}

Status SetTokenPrice(const std::filesystem::path& accounts, const TokenPrice& price) {
  return OnStore(accounts, true, [&](AccountStore& store) -> Status {
    MicroPrice micro{price.model};
    OCTET_ASSIGN(micro.prompt, Micro(price.prompt));
    OCTET_ASSIGN(micro.cached, Micro(price.cached));
    OCTET_ASSIGN(micro.completion, Micro(price.completion));
    return store.SetPrice(micro);
  });
}

Result<std::vector<TokenPrice>> ListTokenPrices(const std::filesystem::path& accounts) {
  return OnStore(accounts, false, [](AccountStore& store) -> Result<std::vector<TokenPrice>> {
    OCTET_ASSIGN(const std::vector<MicroPrice> prices, store.Prices());
    std::vector<TokenPrice> out;
    const auto whole = [](int64_t micro) { return static_cast<double>(micro) / 1e6; };
    for (const MicroPrice& p : prices) {
      out.push_back({p.model, whole(p.prompt), whole(p.cached), whole(p.completion)});
    }
    return out;
  });
}

Result<std::vector<UsageRow>> ReadUsage(const std::filesystem::path& accounts,
                                        const UsageQuery& query) {
  return OnStore(accounts, false, [&](AccountStore& store) { return store.Usage(query); });
}

}  // namespace octet
