// Beginnings of texts that outlive their engine: the same bits, or a clear refusal.
#include "engine/prefix_file.h"

#include <gmock/gmock.h>

#include <future>

#include "base/file.h"
#include "base/rng.h"
#include "engine/engine_testing.h"
#include "engine/service.h"
#include "support/temp_folder.h"

namespace octet {
namespace {

using testing::Answer;
using ::testing::HasSubstr;

class PrefixFile : public testing::EngineTest {
 protected:
  EngineOptions Options() {
    EngineOptions options;
    options.keep_prefixes = true;
    options.page_tokens = 4;
    options.max_sequences = 2;
    return options;
  }
  /// An engine that has seen some texts, and their answers.
  std::unique_ptr<Engine> MakeUsed() {
    auto engine = Make(Options());
    for (int i = 0; i < 6; ++i) answers_.push_back(Run(*engine, MakeRequest(i, 21 + i, 9)));
    return engine;
  }
  std::string Save(Engine& engine, const char* name = "prefixes") {
    const auto saved = engine.SavePrefixes(folder_ / name);
    EXPECT_TRUE(saved) << saved.error().message;
    EXPECT_EQ(*saved, engine.stats().prefix_pages);
    using std::filesystem::perms;
    EXPECT_EQ(std::filesystem::status(folder_ / name).permissions(),
              perms::owner_read | perms::owner_write);
    return *ReadTextFile(folder_ / name);
  }
  Result<int64_t> Load(Engine& engine, std::string_view bytes) {
    return engine.LoadPrefixes(folder_.Write("changed", bytes));
  }
  std::string WhyNot(Engine& engine, std::string_view bytes) {
    const auto loaded = Load(engine, bytes);
    return loaded ? "it was taken" : loaded.error().message;
  }

  testing::TempFolder folder_;
  std::vector<Answer> answers_;
};

TEST_F(PrefixFile, GivesTheSameBitsToAnotherEngine) {
  auto first = MakeUsed();
  const std::string bytes = Save(*first);
  auto second = Make(Options());
  ASSERT_EQ(Load(*second, bytes).value(), first->stats().prefix_pages);
  // Keys and values, texts, and which was used last.
  EXPECT_EQ(Save(*second, "again"), bytes);
  for (int i = 0; i < 6; ++i) {
    const Answer again = Run(*second, MakeRequest(i, 21 + i, 9));
    EXPECT_EQ(again.ids, answers_[static_cast<size_t>(i)].ids) << i;
    EXPECT_GE(again.cached_tokens, 20) << i;
  }
  EXPECT_EQ(second->stats().unused_prefix_pages, second->stats().prefix_pages);
}

TEST_F(PrefixFile, TakesTheLastUsedAsFarAsThereIsRoom) {
  auto first = MakeUsed();
  const std::string bytes = Save(*first);
  EngineOptions small = Options();
  small.kv_pages = 12;
  auto second = Make(small);
  EXPECT_EQ(Load(*second, bytes).value(), 12);
  // Six whole pages, and all but the last token of what is left.
  EXPECT_EQ(Run(*second, MakeRequest(5, 26, 9)).cached_tokens, 25);
  EXPECT_EQ(Run(*second, MakeRequest(0, 21, 9)).ids, answers_[0].ids);
}

TEST_F(PrefixFile, IsSavedWhileRequestsRunToo) {
  auto first = MakeUsed();
  ASSERT_TRUE(first->Submit(MakeRequest(5, 26, 30)));
  for (int step = 0; step < 5; ++step) first->Step();
  const std::string bytes = Save(*first);
  EXPECT_LT(first->stats().unused_prefix_pages, first->stats().prefix_pages);
  auto second = Make(Options());
  EXPECT_EQ(Load(*second, bytes).value(), first->stats().prefix_pages);
  EXPECT_EQ(Run(*second, MakeRequest(5, 26, 9)).ids, answers_[5].ids);
}

TEST_F(PrefixFile, RefusesWhatDoesNotFit) {
  const std::string bytes = Save(*MakeUsed());
  EngineOptions options = Options();
  options.page_tokens = 8;
  EXPECT_THAT(WhyNot(*Make(options), bytes), HasSubstr("pages of another size"));
  options = Options();
  options.kv_format = Format::kF32;
  EXPECT_THAT(WhyNot(*Make(options), bytes), HasSubstr("of another type"));
  options = Options();
  options.keep_prefixes = false;
  EXPECT_THAT(WhyNot(*Make(options), bytes), HasSubstr("no prefixes are kept"));
  model_ = testing::TinyModel(2);
  EXPECT_THAT(WhyNot(*Make(Options()), bytes), HasSubstr("of another model"));
  EXPECT_EQ(Make(Options())->LoadPrefixes(folder_ / "none").error().code, ErrorCode::kNotFound);
}

TEST_F(PrefixFile, NoticesEveryChangedByteAndEveryCut) {
  const std::string bytes = Save(*MakeUsed());
  auto engine = Make(Options());
  for (size_t size = 0; size < bytes.size(); size += 97) {
    EXPECT_FALSE(Load(*engine, bytes.substr(0, size))) << size;
    engine->ForgetPrefixes();
  }
  const uint64_t seed = 5;
  for (uint64_t i = 0; i < 300; ++i) {
    std::string changed = bytes;
    const size_t range = i % 2 == 0 ? sizeof(PrefixFileHeader) : bytes.size();
    const size_t at = RandomBits(seed, 0, i) % range;
    changed[at] = static_cast<char>(changed[at] ^ (1 + RandomBits(seed, 1, i) % 255));
    EXPECT_FALSE(Load(*engine, changed)) << at;
    engine->ForgetPrefixes();
    EXPECT_EQ(engine->free_pages(), engine->stats().pages) << "none is lost";
  }
  EXPECT_TRUE(Load(*engine, bytes));
}

TEST_F(PrefixFile, IsSavedByAServiceThatGoesOnAnswering) {
  EngineOptions options = Options();
  options.kv_pages = 20;  // pages come and go meanwhile
  std::vector<Answer> expected;
  const auto alone = Make(Options());
  for (int i = 0; i < 40; ++i) expected.push_back(Run(*alone, MakeRequest(i, 21 + i % 9, 9)));
  EngineService service(Make(options), {});
  std::vector<std::promise<std::vector<int32_t>>> done(expected.size());
  std::vector<std::vector<int32_t>> ids(expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto n = static_cast<int>(i);
    ASSERT_TRUE(service.Submit(MakeRequest(n, 21 + n % 9, 9), [&, i](std::vector<Event>& events) {
      for (const Event& event : events) {
        if (event.token >= 0) ids[i].push_back(event.token);
        if (event.finish) done[i].set_value(ids[i]);
      }
    }));
    if (i % 4 != 0) continue;
    const auto saved = service.SavePrefixes(folder_ / "prefixes");
    ASSERT_TRUE(saved) << saved.error().message;
    // Whatever was there, it is sound.
    const auto other = Make(Options());
    EXPECT_EQ(other->LoadPrefixes(folder_ / "prefixes").value(), *saved);
    EXPECT_EQ(Run(*other, MakeRequest(n, 21 + n % 9, 9)).ids, expected[i].ids);
  }
  for (size_t i = 0; i < done.size(); ++i)
    EXPECT_EQ(done[i].get_future().get(), expected[i].ids) << i;
  ASSERT_TRUE(service.WaitUntilIdle(std::chrono::minutes(1)));
  ASSERT_TRUE(service.SavePrefixes(folder_ / "prefixes"));
  const std::string running = *ReadTextFile(folder_ / "prefixes");
  service.Stop();
  ASSERT_TRUE(service.SavePrefixes(folder_ / "prefixes"));
  EXPECT_EQ(*ReadTextFile(folder_ / "prefixes"), running) << "the same, whole or in parts";
}

}  // namespace
}  // namespace octet
