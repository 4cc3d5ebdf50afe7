#include "train/documents.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "support/temp_folder.h"
#include "support/tokenizers.h"

namespace octet {
namespace {

class Documents : public ::testing::Test {
 protected:
  std::filesystem::path Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_.path() / name, std::ios::binary) << text;
    return folder_.path() / name;
  }
  /// Tokenises one file; documents and which of their tokens are learned.
  struct Made {
    std::vector<std::vector<int32_t>> ids;
    std::vector<std::vector<float>> learned;
  };
  Result<Made> Make(const std::filesystem::path& file, const Tokenizer& tokenizer) {
    OCTET_ASSIGN(const DocumentKind kind, RecogniseDocuments(file));
    TokenFileWriter writer(tokenizer.vocab_size(), kind != DocumentKind::kText);
    OCTET_TRY(Tokenise({file}, tokenizer, {ChatFormat::kMistralV1}, writer));
    OCTET_TRY(writer.Write(folder_.path() / "t", 1));
    OCTET_ASSIGN(const TokenFile tokens, TokenFile::Open(folder_.path() / "t"));
    Made made;
    for (int64_t d = 0; d < tokens.documents(); ++d) {
      made.ids.emplace_back();
      OCTET_TRY(tokens.Read(d, 0, tokens.Size(d), tokenizer.vocab_size(), made.ids.back()));
      made.learned.push_back(*tokens.Weights(d, 0, tokens.Size(d)));
    }
    return made;
  }
  testing::TempFolder folder_;
};

TEST_F(Documents, TextIsSplitAtTheMarkerAndFramed) {
  const auto tokenizer = testing::SmallTokenizer();
  const auto made =
      Make(Write("a.txt", "\nOne.\nTwo.\n<|endoftext|>\n\n<|endoftext|>\nThree."), *tokenizer);
  ASSERT_TRUE(made);
  ASSERT_EQ(made->ids.size(), 2u);  // the empty one is none
  for (const auto& ids : made->ids) {
    EXPECT_EQ(ids.front(), tokenizer->vocabulary().bos);
    EXPECT_EQ(ids.back(), tokenizer->vocabulary().eos);
  }
  EXPECT_EQ(tokenizer->Decode(made->ids[0]), "One.\nTwo.");
  EXPECT_EQ(tokenizer->Decode(made->ids[1]), "Three.");
}

TEST_F(Documents, JsonLinesOfText) {
  const auto tokenizer = testing::SmallTokenizer();
  const auto made =
      Make(Write("a.jsonl", "{\"text\": \"One.\\nTwo.\"}\n\n{\"text\": \"Three.\"}\n"), *tokenizer);
  ASSERT_TRUE(made) << made.error().message;
  ASSERT_EQ(made->ids.size(), 2u);
  EXPECT_EQ(tokenizer->Decode(made->ids[0]), "One.\nTwo.");
}

TEST_F(Documents, OnlyTheAssistantIsLearned) {
  const auto tokenizer = testing::SmallTokenizer();
  const std::string chat =
      R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"},)"
      R"( {"role": "user", "content": "No"}, {"role": "assistant", "content": "Bye"}]})";
  const auto made = Make(Write("a.jsonl", chat + "\n"), *tokenizer);
  ASSERT_TRUE(made) << made.error().message;
  std::vector<int32_t> learned;
  for (size_t i = 0; i < made->ids[0].size(); ++i) {
    if (made->learned[0][i] != 0) learned.push_back(made->ids[0][i]);
  }
  const std::string text = tokenizer->Decode(learned);
  EXPECT_NE(text.find("Yes"), std::string::npos);
  EXPECT_NE(text.find("Bye"), std::string::npos);
  EXPECT_EQ(text.find("INST"), std::string::npos);
  EXPECT_EQ(learned.back(), tokenizer->vocabulary().eos);
}

TEST_F(Documents, APreferenceIsTwoDocumentsWithTheLastAnswerLearned) {
  const auto tokenizer = testing::SmallTokenizer();
  const std::string pair =
      R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"},)"
      R"( {"role": "user", "content": "No"}], "chosen": "Good", "rejected": "Bad"})";
  const auto made = Make(Write("a.jsonl", pair + "\n"), *tokenizer);
  ASSERT_TRUE(made) << made.error().message;
  ASSERT_EQ(made->ids.size(), 2u);
  for (size_t d = 0; d < 2; ++d) {
    std::vector<int32_t> learned;
    for (size_t i = 0; i < made->ids[d].size(); ++i) {
      if (made->learned[d][i] != 0) learned.push_back(made->ids[d][i]);
    }
    const std::string text = tokenizer->Decode(learned);
    EXPECT_EQ(text.find("Yes"), std::string::npos) << text;
    EXPECT_NE(text.find(d == 0 ? "Good" : "Bad"), std::string::npos) << text;
  }
}

TEST_F(Documents, AMessagesWeightIsItsTokens) {
  const auto tokenizer = testing::SmallTokenizer();
  const std::string chat =
      R"({"messages": [{"role": "user", "content": "Hi", "weight": 7}, {"role": "assistant", "content": "Yes",)"
      R"( "weight": 0}, {"role": "user", "content": "No"}, {"role": "assistant", "content": "Bye",)"
      R"( "weight": 0.25}, {"role": "user", "content": "No"}, {"role": "assistant", "content": "So"}]})";
  const auto made = Make(Write("a.jsonl", chat + "\n"), *tokenizer);
  ASSERT_TRUE(made) << made.error().message;
  std::map<float, std::vector<int32_t>> said;
  for (size_t i = 0; i < made->ids[0].size(); ++i)
    said[made->learned[0][i]].push_back(made->ids[0][i]);
  ASSERT_EQ(said.size(), 3u);
  EXPECT_NE(tokenizer->Decode(said[0.25f]).find("Bye"), std::string::npos);
  EXPECT_NE(tokenizer->Decode(said[1.0f]).find("So"), std::string::npos);
  EXPECT_NE(tokenizer->Decode(said[0.0f]).find("Yes"), std::string::npos);
}

TEST_F(Documents, ErrorsNameFileAndLine) {
  const auto tokenizer = testing::SmallTokenizer();
  for (const std::string bad :
       {"not json", "{\"messages\": []}", "{\"messages\": [3]}",
        "{\"messages\": [{\"role\": \"user\"}]}", "[]",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"nobody answers\"}]}",
        "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\", \"weight\": -1}]}"}) {
    const auto made = Make(
        Write("a.jsonl",
              "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", "
              "\"content\": \"b\"}]}\n" +
                  bad + "\n"),
        *tokenizer);
    ASSERT_FALSE(made) << bad;
    EXPECT_NE(made.error().message.find("a.jsonl:2"), std::string::npos) << made.error().message;
  }
  EXPECT_FALSE(RecogniseDocuments(Write("b.jsonl", "{\"prompt\": 1}\n")));
  EXPECT_FALSE(RecogniseDocuments(folder_.path() / "absent"));
}

TEST_F(Documents, OfAJudgementTheLastAnswerIsLearnedAndMarked) {
  const auto tokenizer = testing::SmallTokenizer();
  const auto line = [](const std::string& label) {
    return R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"},)"
           R"( {"role": "user", "content": "No"}, {"role": "assistant", "content": "Bye"}], "label": )" +
           label + "}\n";
  };
  const auto file = Write("a.jsonl", line("true") + line("false"));
  ASSERT_EQ(*RecogniseDocuments(file), DocumentKind::kJudgements);
  const auto made = Make(file, *tokenizer);
  ASSERT_TRUE(made) << made.error().message;
  ASSERT_EQ(made->ids.size(), 2u);
  for (const auto& [document, mark] : {std::pair<size_t, float>{0, 1}, {1, kUndesirableMark}}) {
    std::vector<int32_t> learned;
    for (size_t i = 0; i < made->ids[document].size(); ++i) {
      if (made->learned[document][i] == mark)
        learned.push_back(made->ids[document][i]);
      else
        EXPECT_EQ(made->learned[document][i], 0);
    }
    EXPECT_NE(tokenizer->Decode(learned).find("Bye"), std::string::npos);
    EXPECT_EQ(tokenizer->Decode(learned).find("Yes"), std::string::npos);
  }
  const auto wrong = Make(Write("a.jsonl", line("true") + line("1")), *tokenizer);
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("a.jsonl:2: expected \"label\""), std::string::npos)
      << wrong.error().message;
}

TEST_F(Documents, ReadingStopsWhenAsked) {
  const auto tokenizer = testing::SmallTokenizer();
  const std::atomic<bool> stop = true;
  TokenFileWriter writer(tokenizer->vocab_size(), false);
  const Status read = Tokenise({Write("a.txt", "One.\nTwo.\n")}, *tokenizer,
                               {ChatFormat::kMistralV1, &stop}, writer);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kCancelled);
}

TEST_F(Documents, ReadingTellsHowFarItIs) {
  const auto tokenizer = testing::SmallTokenizer();
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "A line of some length, to fill a buffer or two.\n";
  const std::vector<std::filesystem::path> files = {Write("a.txt", text), Write("b.txt", text)};
  const auto size = static_cast<int64_t>(text.size());
  std::vector<int64_t> told;
  TokenFileWriter writer(tokenizer->vocab_size(), false);
  ASSERT_TRUE(Tokenise(files, *tokenizer,
                       {ChatFormat::kMistralV1, nullptr, 2,
                        [&](int64_t done, int64_t total) {
                          EXPECT_EQ(total, 2 * size);
                          told.push_back(done);
                        }},
                       writer));
  ASSERT_GT(told.size(), 4u);
  EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
  EXPECT_GT(told.front(), 0);
  EXPECT_LE(told.front(), size);
  EXPECT_EQ(told.back(), 2 * size);
}

TEST_F(Documents, ThreadsDoNotChangeTheirOrder) {
  const auto tokenizer = testing::SmallTokenizer();
  std::string text;
  for (int i = 0; i < 4000; ++i) {
    text += "Story " + std::to_string(i) + ". ";
    for (int j = 0; j < 1 + i % 50; ++j) text += "It went on and on. ";
    text += "\n<|endoftext|>\n";
  }
  ASSERT_GT(text.size(), 1u << 20);  // more than is taken at a time
  const std::filesystem::path file = Write("a.txt", text);
  const auto tokens = [&](int threads) {
    TokenFileWriter writer(tokenizer->vocab_size(), false);
    EXPECT_TRUE(Tokenise({file}, *tokenizer, {.threads = threads}, writer));
    EXPECT_EQ(writer.documents(), 4000);
    EXPECT_TRUE(writer.Write(folder_.path() / "t", 1));
    std::ifstream written(folder_.path() / "t", std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(written), {});
  };
  const std::string one = tokens(1);
  EXPECT_GT(one.size(), 100000u);
  EXPECT_EQ(tokens(3), one);
}

TEST_F(Documents, JsonIsRecognisedByNameOrFirstObject) {
  const auto tokenizer = testing::SmallTokenizer();
  // A mark of byte order, blank lines before the first object, no name to go by.
  for (const std::string begin : {"\xef\xbb\xbf", "\n \n"}) {
    for (const char* name : {"a.jsonl", "a.txt", "a"}) {
      const auto made = Make(Write(name, begin + "{\"text\": \"One.\"}\n"), *tokenizer);
      ASSERT_TRUE(made) << made.error().message;
      ASSERT_EQ(made->ids.size(), 1u);
      EXPECT_EQ(tokenizer->Decode(made->ids[0]), "One.") << name;
    }
  }
  // Never taken for text: what is called JSON, or looks like a broken line of it.
  for (const auto& [name, line] :
       {std::pair{"a.jsonl", "not json"}, {"a.json", "[{\"text\": \"One.\"}]"}, {"a", "{\"te"}}) {
    const auto made = Make(Write(name, std::string(line) + "\n"), *tokenizer);
    ASSERT_FALSE(made) << line;
    EXPECT_NE(made.error().message.find(":1: expected a JSON object"), std::string::npos)
        << made.error().message;
  }
  const auto made = Make(Write("a.txt", "{ is a brace.\n"), *tokenizer);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(tokenizer->Decode(made->ids[0]), "{ is a brace.");
}

}  // namespace
}  // namespace octet
