#include "engine/prefix_cache.h"

#include "engine/engine_testing.h"

namespace octet {
namespace {

using testing::Answer;
using testing::EngineTest;

TEST(PrefixCache, FindsAPageOnlyAfterItsOwnBeginning) {
  PrefixCache cache(2);
  const std::vector<int32_t> text = {5, 6, 7, 8, 9};
  std::vector<uint64_t> hashes;
  cache.HashPages(text, hashes);
  ASSERT_EQ(hashes.size(), 2u);
  const std::span<const int32_t> first(text.data(), 2), second(text.data() + 2, 2);
  EXPECT_FALSE(cache.Acquire(0, hashes[0], first));
  ASSERT_TRUE(cache.Insert(0, hashes[0], first, 11));
  ASSERT_TRUE(cache.Insert(hashes[0], hashes[1], second, 12));
  EXPECT_EQ(cache.Acquire(0, hashes[0], first), 11);
  EXPECT_EQ(cache.Acquire(hashes[0], hashes[1], second), 12);
  EXPECT_FALSE(cache.Acquire(hashes[1], hashes[1], second));
  // Two texts of one hash are told apart, and the second is not kept.
  EXPECT_FALSE(cache.Acquire(0, hashes[0], second));
  EXPECT_FALSE(cache.Insert(0, hashes[0], second, 13));
}

TEST(PrefixCache, GivesUpTheEndOfTheLongestUnusedTextFirst) {
  PrefixCache cache(1);
  const std::vector<int32_t> a = {1, 2}, b = {3};
  std::vector<uint64_t> ha, hb;
  cache.HashPages(a, ha);
  cache.HashPages(b, hb);
  cache.Insert(0, ha[0], {a.data(), 1}, 0);
  cache.Insert(ha[0], ha[1], {a.data() + 1, 1}, 1);
  cache.Insert(0, hb[0], b, 2);
  EXPECT_FALSE(cache.Evict()) << "all are in use";
  cache.Release(hb[0]);
  cache.Release(ha[1]);
  cache.Release(ha[0]);
  EXPECT_EQ(cache.unused(), 3);
  EXPECT_EQ(cache.Evict(), 2);
  EXPECT_EQ(cache.Evict(), 1);
  EXPECT_EQ(cache.Acquire(0, ha[0], {a.data(), 1}), 0);
  EXPECT_FALSE(cache.Evict());
}

TEST(PrefixCache, FindsThePageThatBeginsWithMost) {
  PrefixCache cache(3);
  const std::vector<std::vector<int32_t>> pages = {{1, 2, 3}, {1, 2, 4}, {1, 5, 6}};
  for (size_t i = 0; i < pages.size(); ++i) {
    const uint64_t hash = PrefixCache::Hash(0, pages[i]);
    ASSERT_TRUE(cache.Insert(0, hash, pages[i], static_cast<int32_t>(i)));
    cache.Release(hash);
  }
  const std::vector<int32_t> as_first = {1, 2, 3}, as_third = {1, 5}, as_newer = {1, 2},
                             as_none = {2, 2};
  const auto longest = [&](const std::vector<int32_t>& tokens, uint64_t before = 0) {
    const auto found = cache.LongestBeginning(before, tokens);
    return found ? std::pair(found->page, found->tokens) : std::pair(-1, int64_t{0});
  };
  EXPECT_EQ(longest(as_none), std::pair(-1, int64_t{0}));
  EXPECT_EQ(longest(as_first, 7), std::pair(-1, int64_t{0}));
  EXPECT_EQ(longest(as_newer), std::pair(1, int64_t{2}));
  EXPECT_EQ(longest(as_third), std::pair(2, int64_t{2}));
  EXPECT_EQ(longest(as_first), std::pair(0, int64_t{3}));
  // In the order in which they were of use.
  EXPECT_EQ(cache.Evict(), 1);
  EXPECT_EQ(cache.Evict(), 2);
  EXPECT_EQ(longest(as_third), std::pair(0, int64_t{1}));
  EXPECT_EQ(cache.Evict(), 0);
  EXPECT_EQ(longest(as_first), std::pair(-1, int64_t{0}));
}

class PrefixTest : public EngineTest {
 protected:
  std::unique_ptr<Engine> MakeWithPrefixes(int32_t parallel = 1, int64_t pages = 0) {
    EngineOptions options;
    options.keep_prefixes = true;
    options.page_tokens = 4;
    options.max_sequences = parallel;
    options.kv_pages = pages;
    return Make(options);
  }
  /// 30 tokens in common, then two of its own.
  static Request WithCommonBeginning(int i) {
    Request request = MakeRequest(0, 30, 12);
    request.sampling.seed = static_cast<uint64_t>(i);
    request.prompt.push_back(4 + i);
    request.prompt.push_back(5 + i);
    return request;
  }
  std::vector<std::vector<int32_t>> AloneWithCommonBeginning(int n) {
    std::vector<std::vector<int32_t>> ids;
    for (int i = 0; i < n; ++i) ids.push_back(Run(*Make(), WithCommonBeginning(i)).ids);
    return ids;
  }
};

TEST_F(PrefixTest, GivesTheSameTokensColdAndWarm) {
  auto engine = MakeWithPrefixes();
  const Answer cold = Run(*engine, WithCommonBeginning(1));
  EXPECT_EQ(cold.cached_tokens, 0);
  const Answer warm = Run(*engine, WithCommonBeginning(1));
  EXPECT_EQ(warm.cached_tokens, 31);  // all but the last token, three of them copied
  EXPECT_EQ(warm.ids, cold.ids);
  EXPECT_EQ(warm.ids, AloneWithCommonBeginning(2)[1]);
}

TEST_F(PrefixTest, CopiesWhatAPageHasOfAnotherEnding) {
  const auto alone = AloneWithCommonBeginning(3);
  auto engine = MakeWithPrefixes();
  for (int i = 0; i < 3; ++i) {
    const Answer answer = Run(*engine, WithCommonBeginning(i));
    EXPECT_EQ(answer.cached_tokens, i == 0 ? 0 : 30) << i;  // 28 on whole pages
    EXPECT_EQ(answer.ids, alone[static_cast<size_t>(i)]) << i;
  }
  EXPECT_EQ(engine->stats().prompt_rows, 32 + 2 * 2);
}

TEST_F(PrefixTest, GoesOnFromAnAnswerThatIsNowPartOfThePrompt) {
  auto engine = MakeWithPrefixes();
  Request request = WithCommonBeginning(1);
  const Answer first = Run(*engine, request);
  request.prompt.insert(request.prompt.end(), first.ids.begin(), first.ids.end());
  request.prompt.push_back(9);
  const Answer second = Run(*engine, request);
  EXPECT_EQ(second.cached_tokens, 40);  // of 32 + 12 + 1, the last answer token never computed
  EXPECT_EQ(second.ids, Run(*Make(), request).ids);
}

TEST_F(PrefixTest, ComputesACommonBeginningOnceForAllWhoComeAtOnce) {
  constexpr int kRequests = 20;
  const auto alone = AloneWithCommonBeginning(kRequests);
  auto engine = MakeWithPrefixes(kRequests);
  for (int i = 0; i < kRequests; ++i) ASSERT_TRUE(engine->Submit(WithCommonBeginning(i)));
  auto answers = RunAll(*engine);
  for (int i = 0; i < kRequests; ++i) {
    const Answer& answer = answers[static_cast<uint64_t>(i) + 1];
    EXPECT_EQ(answer.ids, alone[static_cast<size_t>(i)]) << i;
    EXPECT_EQ(answer.cached_tokens, i == 0 ? 0 : 28) << i;
  }
  EXPECT_EQ(engine->stats().prompt_rows + engine->stats().prefix_tokens, kRequests * 32);
  EXPECT_EQ(engine->stats().prefix_tokens, (kRequests - 1) * 28);
}

TEST_F(PrefixTest, LeavesNoPageBehind) {
  auto engine = MakeWithPrefixes(4, 80);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(engine->Submit(WithCommonBeginning(i)));
  for (int step = 0; step < 6; ++step) engine->Step();
  ASSERT_TRUE(engine->Cancel(2));
  RunAll(*engine);
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.free_pages + stats.prefix_pages, 80);
  EXPECT_EQ(stats.unused_prefix_pages, stats.prefix_pages);
  EXPECT_GT(stats.prefix_pages, 8);
  engine->ForgetPrefixes();
  EXPECT_EQ(engine->free_pages(), 80);
}

TEST_F(PrefixTest, GivesTheSameTokensWhenPagesRunOut) {
  const auto alone = Alone(6, 10, 40);
  EngineOptions options;
  options.keep_prefixes = true;
  options.max_sequences = 6;
  options.page_tokens = 4;
  options.kv_pages = 26;  // two sequences of 50 tokens at most
  auto engine = Make(options);
  for (int round = 0; round < 2; ++round) {
    std::map<int, uint64_t> ids;
    for (int i = 0; i < 6; ++i) ids[i] = *engine->Submit(MakeRequest(i, 10, 40));
    auto answers = RunAll(*engine);
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(answers[ids[i]].ids, alone[static_cast<size_t>(i)]) << i << " in round " << round;
    }
  }
  EXPECT_GT(engine->stats().preemptions, 0);
  engine->ForgetPrefixes();
  EXPECT_EQ(engine->free_pages(), 26);
}

TEST_F(PrefixTest, GivesTheSameTokensAmong31OthersWithAnyParallel) {
  const auto alone = Alone(32, 21, 15);
  for (const int32_t parallel : {1, 3, 32}) {
    auto engine = MakeWithPrefixes(parallel);
    for (int round = 0; round < 2; ++round) {
      std::map<int, uint64_t> ids;
      for (int i = 0; i < 32; ++i) ids[i] = *engine->Submit(MakeRequest(i, 21, 15));
      auto answers = RunAll(*engine);
      for (int i = 0; i < 32; ++i) {
        EXPECT_EQ(answers[ids[i]].ids, alone[static_cast<size_t>(i)])
            << i << " with " << parallel << " in round " << round;
      }
    }
  }
}

}  // namespace
}  // namespace octet
