// The C interface; examples/c/generate.c is compiled as C99.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "octet/octet.h"
#include "support/small_model.h"

namespace {

using ::testing::HasSubstr;

struct Free {
  void operator()(octet_model* model) const { octet_model_free(model); }
};
using Model = std::unique_ptr<octet_model, Free>;

Model LoadModel() {
  octet_model* model = nullptr;
  octet_load_options options;
  octet_load_options_init(&options);
  options.model_path = octet::testing::SmallModelPath().c_str();
  EXPECT_EQ(octet_model_load(&options, &model), OCTET_OK) << octet_last_error();
  return Model(model);
}

octet_generate_options GreedyOptions(int64_t max_tokens) {
  octet_generate_options options;
  octet_generate_options_init(&options);
  options.temperature = 0;
  options.max_tokens = max_tokens;
  return options;
}

int Append(void* user, const char* piece, size_t bytes) {
  static_cast<std::string*>(user)->append(piece, bytes);
  return 0;
}

TEST(CApi, GeneratesWhatTheFacadeGenerates) {
  const Model model = LoadModel();
  const octet_generate_options options = GreedyOptions(27);
  octet_generate_result result = {};
  result.struct_size = sizeof result;
  std::string text;
  ASSERT_EQ(octet_generate(model.get(), "Once upon a time", &options, Append, &text, &result),
            OCTET_OK);
  EXPECT_EQ(text, ", there was a little girl named Lily. She loved to play outside in the park.");
  EXPECT_EQ(result.finish, OCTET_FINISH_LENGTH);
  EXPECT_EQ(result.prompt_tokens, 5);
  EXPECT_EQ(result.completion_tokens, 27);
  EXPECT_STREQ(octet_last_error(), "");
}

TEST(CApi, GuessesAheadWithAModelAndSaysTheSame) {
  octet_load_options load;
  octet_load_options_init(&load);
  load.model_path = octet::testing::SmallModelPath().c_str();
  load.speculate = "lookup";
  octet_model* loaded = nullptr;
  ASSERT_EQ(octet_model_load(&load, &loaded), OCTET_OK) << octet_last_error();
  const Model model(loaded);
  const octet_generate_options options = GreedyOptions(27);
  octet_generate_result result = {};
  result.struct_size = sizeof result;
  std::string text;
  ASSERT_EQ(octet_generate(model.get(), "Once upon a time", &options, Append, &text, &result),
            OCTET_OK);
  EXPECT_EQ(text, ", there was a little girl named Lily. She loved to play outside in the park.");
  EXPECT_EQ(result.steps + result.accepted_tokens, 27);
  load.max_draft = 33;
  loaded = nullptr;
  EXPECT_EQ(octet_model_load(&load, &loaded), OCTET_INVALID_ARGUMENT);
  EXPECT_THAT(octet_last_error(), HasSubstr("expected 1 to 32"));
}

TEST(CApi, HonoursStopStringsBiasesAndTheCallback) {
  const Model model = LoadModel();
  octet_generate_options options = GreedyOptions(27);
  const char* const stops[] = {"girl"};
  options.stop = stops;
  options.stop_count = 1;
  std::string text;
  octet_generate_result result = {};
  result.struct_size = sizeof result;
  ASSERT_EQ(octet_generate(model.get(), "Once upon a time", &options, Append, &text, &result),
            OCTET_OK);
  EXPECT_EQ(text, ", there was a little ");
  EXPECT_EQ(result.finish, OCTET_FINISH_STOP);

  options = GreedyOptions(1);
  const int32_t id = 100;
  const float bias = 1000;
  options.bias_ids = &id;
  options.bias_values = &bias;
  options.bias_count = 1;
  std::string biased;
  ASSERT_EQ(octet_generate(model.get(), "Once", &options, Append, &biased, nullptr), OCTET_OK);
  size_t bytes = 0;
  char expected[32];
  ASSERT_EQ(octet_detokenize(model.get(), &id, 1, expected, sizeof expected, &bytes), OCTET_OK);
  EXPECT_THAT(biased, HasSubstr(expected));

  options = GreedyOptions(27);
  const auto stop_at_once = [](void*, const char*, size_t) { return 1; };
  ASSERT_EQ(octet_generate(model.get(), "Once", &options, stop_at_once, nullptr, &result),
            OCTET_OK);
  EXPECT_EQ(result.finish, OCTET_FINISH_CANCELLED);
}

TEST(CApi, KeepsToAGrammarOrASchema) {
  const Model model = LoadModel();
  octet_generate_options options = GreedyOptions(40);
  options.grammar = "root ::= \"x\" [0-9]{2} \"y\"";
  std::string text;
  ASSERT_EQ(octet_generate(model.get(), "Once", &options, Append, &text, nullptr), OCTET_OK);
  EXPECT_THAT(text, ::testing::MatchesRegex("x[0-9][0-9]y"));
  options.grammar = nullptr;
  options.json_schema = "{\"enum\": [[1, 2], [1, 3]]}";
  text.clear();
  ASSERT_EQ(octet_generate(model.get(), "Once", &options, Append, &text, nullptr), OCTET_OK);
  EXPECT_THAT(text, ::testing::AnyOf("[1,2]", "[1,3]"));
  options.grammar = "root ::= .";
  EXPECT_EQ(octet_generate(model.get(), "Once", &options, Append, &text, nullptr),
            OCTET_INVALID_ARGUMENT);
  EXPECT_THAT(octet_last_error(), HasSubstr("only one"));
}

TEST(CApi, TellsSizesBeforeItWrites) {
  const Model model = LoadModel();
  const std::string text = "Once upon a time";
  size_t count = 0;
  ASSERT_EQ(octet_tokenize(model.get(), text.data(), text.size(), 0, nullptr, 0, &count), OCTET_OK);
  std::vector<int32_t> ids(count);
  EXPECT_EQ(octet_tokenize(model.get(), text.data(), text.size(), 0, ids.data(), count - 1, &count),
            OCTET_INVALID_ARGUMENT);
  ASSERT_EQ(octet_tokenize(model.get(), text.data(), text.size(), 0, ids.data(), count, &count),
            OCTET_OK);
  size_t bytes = 0;
  ASSERT_EQ(octet_detokenize(model.get(), ids.data(), count, nullptr, 0, &bytes), OCTET_OK);
  EXPECT_EQ(bytes, text.size());
  std::string back(bytes + 1, '?');
  EXPECT_EQ(octet_detokenize(model.get(), ids.data(), count, back.data(), bytes, &bytes),
            OCTET_INVALID_ARGUMENT);
  ASSERT_EQ(octet_detokenize(model.get(), ids.data(), count, back.data(), bytes + 1, &bytes),
            OCTET_OK);
  EXPECT_STREQ(back.c_str(), text.c_str());
}

TEST(CApi, GivesInfoAndLogits) {
  const Model model = LoadModel();
  octet_model_info info = {};
  info.struct_size = sizeof info;
  ASSERT_EQ(octet_model_get_info(model.get(), &info), OCTET_OK);
  EXPECT_STREQ(info.architecture, "mixtral");
  EXPECT_EQ(info.vocab_size, 512);
  const std::vector<int32_t> ids = {1, 403, 407};
  std::vector<float> logits(ids.size() * 512);
  EXPECT_EQ(octet_logits(model.get(), ids.data(), ids.size(), logits.data(), logits.size() - 1),
            OCTET_INVALID_ARGUMENT);
  EXPECT_EQ(octet_logits(model.get(), ids.data(), ids.size(), logits.data(), logits.size()),
            OCTET_OK);
  EXPECT_NE(logits.back(), 0);
}

TEST(CApi, ServesCallersOfOlderAndRefusesThoseOfNewerHeaders) {
  const Model model = LoadModel();
  octet_model_info info = {};
  info.struct_size = offsetof(octet_model_info, vocab_size);
  info.vocab_size = -7;
  ASSERT_EQ(octet_model_get_info(model.get(), &info), OCTET_OK);
  EXPECT_STREQ(info.architecture, "mixtral");
  EXPECT_EQ(info.vocab_size, -7) << "wrote past the caller's struct";

  octet_generate_options options = GreedyOptions(3);
  options.struct_size = offsetof(octet_generate_options, ignore_eos);
  options.chat = 1;
  options.chat_format = "read past the caller's struct";
  EXPECT_EQ(octet_generate(model.get(), "Once", &options, nullptr, nullptr, nullptr), OCTET_OK)
      << octet_last_error();
  options.struct_size = sizeof options + 8;
  EXPECT_EQ(octet_generate(model.get(), "Once", &options, nullptr, nullptr, nullptr),
            OCTET_INVALID_ARGUMENT);
  options.struct_size = 0;
  EXPECT_EQ(octet_generate(model.get(), "Once", &options, nullptr, nullptr, nullptr),
            OCTET_INVALID_ARGUMENT);
}

TEST(CApi, SaysWhatIsWrong) {
  EXPECT_EQ(octet_model_load(nullptr, nullptr), OCTET_INVALID_ARGUMENT);
  EXPECT_STREQ(octet_last_error(), "model is NULL");
  octet_load_options load;
  octet_load_options_init(&load);
  load.model_path = "/nowhere/at/all";
  octet_model* none = reinterpret_cast<octet_model*>(1);
  EXPECT_EQ(octet_model_load(&load, &none), OCTET_NOT_FOUND);
  EXPECT_EQ(none, nullptr);
  EXPECT_THAT(octet_last_error(), HasSubstr("/nowhere/at/all"));
  EXPECT_STREQ(octet_status_name(OCTET_NOT_FOUND), "not_found");
  octet_model_free(nullptr);

  const Model model = LoadModel();
  octet_generate_options options = GreedyOptions(5);
  options.top_p = 2;
  EXPECT_EQ(octet_generate(model.get(), "Once", &options, nullptr, nullptr, nullptr),
            OCTET_INVALID_ARGUMENT);
  EXPECT_THAT(octet_last_error(), HasSubstr("top_p"));
  EXPECT_EQ(octet_generate(model.get(), nullptr, nullptr, nullptr, nullptr, nullptr),
            OCTET_INVALID_ARGUMENT);
}

}  // namespace
