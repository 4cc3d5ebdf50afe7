#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <vector>

#include "base/rng.h"
#include "support/damage.h"
#include "support/temp_folder.h"
#include "support/tokenizers.h"
#include "train/documents.h"
#include "train/mixture.h"
#include "train/shuffle.h"
#include "train/token_file.h"

namespace octet {
namespace {

constexpr int64_t kVocab = 1000;

TEST(Shuffle, IsAPermutationOfAnySizeAndDiffersByEpoch) {
  for (const uint64_t n : {1, 2, 3, 7, 64, 65, 1000}) {
    std::set<uint64_t> seen;
    for (uint64_t i = 0; i < n; ++i) seen.insert(Permuted(i, n, 5, 0));
    EXPECT_EQ(seen.size(), n);
    EXPECT_LT(*seen.rbegin(), n);
  }
  int equal = 0, in_place = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    equal += Permuted(i, 1000, 5, 0) == Permuted(i, 1000, 5, 1) ? 1 : 0;
    in_place += Permuted(i, 1000, 5, 0) == i ? 1 : 0;
  }
  // Two random permutations agree in one place on average (Poisson): more than 10 has odds of 1e-8.
  EXPECT_LE(equal, 10);
  EXPECT_LE(in_place, 10);
}

/// Documents whose token i is base + i, so that a token says where it came from.
class DataTest : public ::testing::Test {
 protected:
  Source MakeSource(const std::string& name, const std::vector<int64_t>& sizes,
                    DocumentKind kind = DocumentKind::kText, double weight = 1, int32_t first = 0) {
    TokenFileWriter writer(kVocab, kind != DocumentKind::kText);
    int32_t id = first;
    for (const int64_t size : sizes) {
      std::vector<int32_t> ids;
      std::vector<float> learned;
      for (int64_t i = 0; i < size; ++i) {
        ids.push_back(id++);
        learned.push_back(i >= size / 2 ? 1.0f : 0.0f);
      }
      writer.Add(ids, kind == DocumentKind::kText ? std::vector<float>{} : learned);
    }
    const auto path = folder_.path() / (name + ".tokens");
    EXPECT_TRUE(writer.Write(path, 77));
    auto file = TokenFile::Open(path);
    EXPECT_TRUE(file);
    EXPECT_EQ(file->key(), 77u);
    return {name, weight, kind, *std::move(file), static_cast<int64_t>(sizes.size())};
  }
  static std::vector<Source> Only(Source source) {
    std::vector<Source> sources;
    sources.push_back(std::move(source));
    return sources;
  }
  static Mixture Make(std::vector<Source> sources, int64_t context, int64_t batch) {
    auto mixture = Mixture::Create(std::move(sources), {3, kVocab, context, batch});
    EXPECT_TRUE(mixture) << (mixture ? "" : mixture.error().message);
    return *std::move(mixture);
  }
  testing::TempFolder folder_;
};

TEST_F(DataTest, EveryTokenOfATextIsPredictedOnceAnEpoch) {
  // Shorter than the context, longer, of one token, longer than a batch.
  Mixture mixture = Make(Only(MakeSource("a", {5, 40, 1, 17, 90, 2})), 16, 24);
  std::map<int32_t, int> predicted;
  while (mixture.Epochs(0) < 1) {
    const TrainBatch batch = *mixture.Next();
    EXPECT_LE(batch.token.size(), 24u);
    EXPECT_GE(batch.token.size(), 23u);  // no room for a sequence of two
    for (size_t i = 0; i < batch.target_row.size(); ++i) {
      ++predicted[batch.target_id[i]];
      EXPECT_EQ(batch.token[static_cast<size_t>(batch.target_row[i])] + 1, batch.target_id[i]);
    }
    for (const int32_t position : batch.position) EXPECT_LT(position, 16);
  }
  // 155 tokens, six of which begin a document. The last batch may reach into the next epoch.
  EXPECT_GE(predicted.size(), 149u - 6);
  int twice = 0;
  for (const auto& [id, times] : predicted) {
    EXPECT_LE(times, 2) << id;
    twice += times == 2 ? 1 : 0;
  }
  EXPECT_LE(twice, 23);
  for (const int32_t first : {0, 5, 45, 46, 63, 153})
    EXPECT_EQ(predicted.count(first), 0u) << first;
}

TEST_F(DataTest, ARestoredCursorGoesOnWithTheSameBatches) {
  auto sources = [&] {
    std::vector<Source> all;
    all.push_back(MakeSource("a", {50, 20, 30, 9}, DocumentKind::kText, 3));
    all.push_back(MakeSource("b", {33, 44, 5}, DocumentKind::kText, 1, 200));
    return all;
  };
  Mixture first = Make(sources(), 16, 40);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(first.Next());
  Mixture second = Make(sources(), 16, 40);
  ASSERT_TRUE(second.Restore(first.cursor()));
  for (int i = 0; i < 20; ++i) {
    const TrainBatch a = *first.Next(), b = *second.Next();
    EXPECT_EQ(a.token, b.token);
    EXPECT_EQ(a.target_id, b.target_id);
  }
  EXPECT_EQ(first.cursor(), second.cursor());
  // Tokens are shared three to one.
  const auto& places = first.cursor().sources;
  EXPECT_NEAR(static_cast<double>(places[0].tokens), 3.0 * static_cast<double>(places[1].tokens),
              3 * 16);
  EXPECT_FALSE(second.Restore({}));
}

TEST_F(DataTest, ChatsStayWholeAndOnlyAnswersAreLearned) {
  Mixture mixture = Make(Only(MakeSource("c", {6, 8, 10, 40}, DocumentKind::kChats)), 12, 20);
  for (int i = 0; i < 8; ++i) {
    const TrainBatch batch = *mixture.Next();
    EXPECT_LE(batch.token.size(), 20u);
    int64_t begins = 0;
    for (size_t t = 0; t < batch.token.size(); ++t) begins += batch.position[t] == 0 ? 1 : 0;
    EXPECT_EQ(begins, static_cast<int64_t>(batch.completions.size()));
    for (const Completion& c : batch.completions) {
      // The second half of 6, 8, 10 tokens; of 40, cut to 12, nothing is left to learn.
      EXPECT_TRUE(c.count == 3 || c.count == 4 || c.count == 5 || c.count == 0);
    }
  }
}

TEST_F(DataTest, PairsComeTogether) {
  Mixture mixture = Make(Only(MakeSource("p", {6, 7, 8, 9}, DocumentKind::kPreferences)), 12, 24);
  for (int i = 0; i < 6; ++i) {
    const TrainBatch batch = *mixture.Next();
    ASSERT_EQ(batch.completions.size() % 2, 0u);
    for (size_t c = 0; c < batch.completions.size(); c += 2) {
      EXPECT_EQ(batch.completions[c].document % 2, 0);
      EXPECT_EQ(batch.completions[c + 1].document, batch.completions[c].document + 1);
      EXPECT_TRUE(batch.completions[c].desirable);
      EXPECT_FALSE(batch.completions[c + 1].desirable);
    }
  }
}

TEST_F(DataTest, JudgementsSayWhichAnswersAreDesirable) {
  TokenFileWriter writer(kVocab, true);
  writer.Add(std::vector<int32_t>{1, 5, 6, 7}, std::vector<float>{0, 0, 1, 1});
  writer.Add(std::vector<int32_t>{1, 5, 8, 9},
             std::vector<float>{0, 0, kUndesirableMark, kUndesirableMark});
  const auto path = folder_.path() / "j.tokens";
  ASSERT_TRUE(writer.Write(path, 1));
  Mixture mixture =
      Make(Only({"j", 1, DocumentKind::kJudgements, *TokenFile::Open(path), 2}), 4, 4);
  int undesirable = 0;
  for (int i = 0; i < 4; ++i) {
    const TrainBatch batch = *mixture.Next();
    ASSERT_EQ(batch.completions.size(), 1u);
    EXPECT_EQ(batch.completions[0].desirable, batch.completions[0].document == 0);
    EXPECT_EQ(batch.weight, std::vector<float>(2, 1.0f)) << "the mark is no weight";
    undesirable += batch.completions[0].desirable ? 0 : 1;
  }
  EXPECT_EQ(undesirable, 2);
}

TEST_F(DataTest, AHeldOutSourceIsOnlyMeasured) {
  std::vector<Source> sources;
  sources.push_back(MakeSource("a", {20, 30}));
  sources.push_back(MakeSource("b", {10, 12}, DocumentKind::kText, 1, 500));
  sources.back().weight = 0;
  sources.back().documents = 0;
  Mixture mixture = Make(std::move(sources), 16, 24);
  for (int i = 0; i < 10; ++i) {
    const TrainBatch batch = *mixture.Next();
    for (const int32_t id : batch.token) EXPECT_LT(id, 500);
  }
  EXPECT_EQ(mixture.cursor().sources.size(), 1u);
  int64_t taken = 0;
  const auto held_out = mixture.InOrder(1, 0, 2, taken);
  ASSERT_TRUE(held_out);
  EXPECT_EQ(taken, 2);
  EXPECT_EQ(held_out->token.front(), 500);
}

TEST_F(DataTest, WhatCannotBeLearnedFromIsAnError) {
  auto refuse = [&](std::vector<Source> sources, int64_t context, int64_t batch) {
    const auto mixture = Mixture::Create(std::move(sources), {3, kVocab, context, batch});
    EXPECT_FALSE(mixture);
    return mixture ? "" : mixture.error().message;
  };
  refuse({}, 8, 16);
  refuse(Only(MakeSource("a", {5})), 16, 8);
  refuse(Only(MakeSource("b", {})), 8, 16);
  std::vector<Source> kinds;
  kinds.push_back(MakeSource("c", {5}));
  kinds.push_back(MakeSource("d", {5}, DocumentKind::kChats));
  EXPECT_NE(refuse(std::move(kinds), 8, 16).find("c and d"), std::string::npos);
  Mixture lonely = Make(Only(MakeSource("e", {1, 1})), 8, 16);
  EXPECT_FALSE(lonely.Next());
}

TEST_F(DataTest, DamagedTokenFilesAreErrors) {
  MakeSource("a", {5, 300, 7}, DocumentKind::kChats);
  std::ifstream file(folder_.path() / "a.tokens", std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(file)), {});
  const auto path = folder_.path() / "damaged.tokens";
  const testing::Parser parse = [&](std::span<const std::byte> bytes) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<int64_t>(bytes.size()));
    const auto opened = TokenFile::Open(path);
    if (!opened) return false;
    for (int64_t d = 0; d < opened->documents(); ++d) {
      std::vector<int32_t> ids;
      (void)opened->Read(d, 0, opened->Size(d), kVocab, ids);
      (void)opened->Weights(d, 0, opened->Size(d));
    }
    return true;
  };
  testing::ExpectTruncationsRefused(good, parse);
  testing::SurviveByteFlips(good, 64, 200, 4, parse);
}

}  // namespace
}  // namespace octet
