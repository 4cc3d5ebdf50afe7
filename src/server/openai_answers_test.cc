#include <gtest/gtest.h>

#include "server/answer.h"
#include "support/tiny_model.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;

Answer MakeAnswer(bool include_usage) {
  Answer answer;
  answer.id = "chatcmpl-1";
  answer.model = "a \"model\"";
  answer.created = 1700000000;
  answer.request.include_usage = include_usage;
  answer.choices.resize(2);
  answer.choices[1].index = 1;
  return answer;
}

/// The chunk as an object would be written.
std::string Expected(const char* object, Json choice, bool include_usage) {
  Json chunk = {{"id", "chatcmpl-1"},
                {"object", object},
                {"created", 1700000000},
                {"model", "a \"model\""},
                {"choices", Json::array({std::move(choice)})}};
  if (include_usage) chunk["usage"] = nullptr;
  std::string out;
  AppendEvent(chunk, out);
  return out;
}

const char* const kTexts[] = {"",         " a word",     "\"quoted\" \\ and\n\ttabs",
                              "\x01\x7f", "Grüße, 世界", "\xff\xfe cut \xc3",
                              "</script>"};

TEST(OpenAiAnswers, WritesChunksOfTextAsTheirObjectsWouldBe) {
  const testing::LetterTokenizer tokenizer;
  const auto chat = ChatAnswers(tokenizer), completion = CompletionAnswers(tokenizer);
  for (const bool include_usage : {false, true}) {
    const Answer answer = MakeAnswer(include_usage);
    for (const Choice& choice : answer.choices) {
      for (const char* text : kTexts) {
        const Piece piece{5, text, 0, {}, {}};
        std::string out;
        chat->Add(answer, choice, piece, out);
        EXPECT_EQ(out, Expected("chat.completion.chunk",
                                {{"index", choice.index},
                                 {"delta", {{"content", text}}},
                                 {"logprobs", nullptr},
                                 {"finish_reason", nullptr}},
                                include_usage));
        out.clear();
        completion->Add(answer, choice, piece, out);
        EXPECT_EQ(out, Expected("text_completion",
                                {{"text", text},
                                 {"index", choice.index},
                                 {"logprobs", nullptr},
                                 {"finish_reason", nullptr}},
                                include_usage));
      }
    }
  }
}

}  // namespace
}  // namespace octet
