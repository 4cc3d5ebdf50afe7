// Ids made by SentencePiece and mistral-common, from every form of the same vocabulary.
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "io/gguf_writer.h"
#include "support/shared_data.h"
#include "support/temp_folder.h"
#include "support/tokenizers.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace octet {
namespace {

using nlohmann::json;
using testing::Must;
using testing::ReadAll;
using testing::SharedData;
using Ids = std::vector<int32_t>;

/// A GGUF that holds a vocabulary and no tensors, as converters write it.
std::string VocabularyGguf(const Vocabulary& vocabulary) {
  std::vector<std::string> pieces;
  std::vector<double> scores;
  std::vector<int64_t> types;
  for (const Vocabulary::Token& token : vocabulary.tokens) {
    const std::map<TokenKind, int64_t> type_of = {
        {TokenKind::kNormal, 1},      {TokenKind::kUnknown, 2}, {TokenKind::kControl, 3},
        {TokenKind::kUserDefined, 4}, {TokenKind::kUnused, 5},  {TokenKind::kByte, 6}};
    pieces.push_back(token.piece);
    scores.push_back(token.score);
    types.push_back(type_of.at(token.kind));
  }
  GgufMetadata metadata;
  metadata.Set("tokenizer.ggml.model", std::string("llama"), GgufType::kString);
  metadata.Set("tokenizer.ggml.tokens", std::move(pieces), GgufType::kString);
  metadata.Set("tokenizer.ggml.scores", std::move(scores), GgufType::kFloat32);
  metadata.Set("tokenizer.ggml.token_type", std::move(types), GgufType::kInt32);
  return EncodeGgufHeader(metadata, {});
}

/// Mistral's 32,000 pieces from tokenizer.model, tokenizer.json and a GGUF.
std::map<std::string, std::unique_ptr<Tokenizer>> MistralV1() {
  const auto folder = SharedData() / "tokenizer";
  std::map<std::string, std::unique_ptr<Tokenizer>> sources;
  sources["model"] = Must(LoadTokenizer(folder / "tokenizer.model.v1"));
  sources["json"] = Must(LoadTokenizer(folder / "hf_mistral_7b_instruct_v0.1"));
  const testing::TempFolder temp;
  const auto gguf = temp.Write("v.gguf", VocabularyGguf(sources["model"]->vocabulary()));
  sources["gguf"] = Must(LoadTokenizer(gguf));
  return sources;
}

TEST(TokenizerVectors, SentencePieceTextsFromEverySource) {
  OCTET_NEEDS_SHARED_DATA();
  const auto sources = MistralV1();
  std::ifstream file(SharedData() / "tokenizer/vectors/spm_v1_vectors_public.jsonl");
  int n = 0;
  for (std::string line; std::getline(file, line); ++n) {
    const json vector = json::parse(line);
    const auto text = vector.at("text").get<std::string>();
    const auto ids = vector.at("ids").get<Ids>();
    for (const auto& [name, tokenizer] : sources) {
      EXPECT_EQ(tokenizer->Encode(text), ids) << name << " line " << n + 1;
      EXPECT_EQ(tokenizer->Decode(ids), vector.at("decoded").get<std::string>())
          << name << " line " << n + 1;
    }
  }
  EXPECT_EQ(n, 459);
}

TEST(TokenizerVectors, MistralTokenizerJsTextsFromEverySource) {
  OCTET_NEEDS_SHARED_DATA();
  const auto sources = MistralV1();
  const json vectors =
      json::parse(ReadAll(SharedData() / "tokenizer/vectors/mistral_tokenizer_js_vectors.json"));
  EXPECT_EQ(vectors.size(), 12u);
  for (const json& vector : vectors) {
    const auto text = vector.at("text").get<std::string>();
    for (const auto& [name, tokenizer] : sources) {
      Ids ids = tokenizer->Encode(text);
      ids.insert(ids.begin(), tokenizer->vocabulary().bos);
      EXPECT_EQ(ids, vector.at("ids_with_bos").get<Ids>()) << name << ": " << text;
    }
  }
}

TEST(TokenizerVectors, InstructConversationsFromEverySource) {
  OCTET_NEEDS_SHARED_DATA();
  const auto sources = MistralV1();
  const json vectors = json::parse(
      ReadAll(SharedData() / "tokenizer/vectors/mistral_common_v1_instruct_vectors.json"));
  EXPECT_EQ(vectors.size(), 5u);
  EXPECT_EQ(RecogniseChatFormat(sources.at("json")->vocabulary()), ChatFormat::kMistralV1);
  for (const json& vector : vectors) {
    std::vector<ChatMessage> messages;
    for (const json& message : vector.at("messages")) {
      messages.push_back({message.at("role"), message.at("content")});
    }
    const ChatOptions options{.continue_last = vector.at("continue_final_message").get<bool>()};
    for (const auto& [name, tokenizer] : sources) {
      const auto chat = RenderChat(ChatFormat::kMistralV1, messages, *tokenizer, options);
      ASSERT_TRUE(chat) << chat.error().message;
      EXPECT_EQ(chat->ids, vector.at("ids").get<Ids>()) << name << ": " << vector.at("name");
    }
  }
}

TEST(TokenizerVectors, JsonAndModelAreTheSameVocabulary) {
  OCTET_NEEDS_SHARED_DATA();
  const auto sources = MistralV1();
  const Vocabulary& model = sources.at("model")->vocabulary();
  const Vocabulary& from_json = sources.at("json")->vocabulary();
  ASSERT_EQ(from_json.tokens.size(), model.tokens.size());
  EXPECT_TRUE(from_json.scores_are_exact);
  std::vector<std::pair<float, float>> scores;  // of pieces that merges make: json's, the model's
  for (size_t id = 0; id < model.tokens.size(); ++id) {
    const Vocabulary::Token& token = model.tokens[id];
    EXPECT_EQ(from_json.tokens[id].piece, token.piece) << id;
    EXPECT_EQ(from_json.tokens[id].kind, token.kind) << id;
    if (token.kind == TokenKind::kNormal && Utf8Length(token.piece) < token.piece.size()) {
      scores.emplace_back(from_json.tokens[id].score, token.score);
    }
  }
  // A tokenizer.json keeps the order of the merges, not the model's numbers.
  std::sort(scores.rbegin(), scores.rend());
  for (size_t i = 1; i < scores.size(); ++i) ASSERT_LE(scores[i].second, scores[i - 1].second);
}

TEST(TokenizerVectors, ReferenceCases) {
  OCTET_NEEDS_SHARED_DATA();
  const auto folder = SharedData() / "reference/tokenizer";
  const auto tokenizer = Must(LoadTokenizer(folder / "tokenizer.model"));
  const auto gguf = Must(
      LoadTokenizer(SharedData() / "reference/models/mixtral-tiny/gguf/mixtral-tiny-F16.gguf"));
  const json reference = json::parse(ReadAll(folder / "cases.json"));
  for (const Tokenizer* source : {tokenizer.get(), gguf.get()}) {
    for (const json& one : reference.at("cases")) {
      const auto ids = one.at("ids").get<Ids>();
      EXPECT_EQ(source->Encode(one.at("text").get<std::string>()), ids) << one.at("text");
      EXPECT_EQ(source->Decode(ids), one.at("decoded").get<std::string>());
    }
    for (const json& one : reference.at("decode_random_ids")) {
      EXPECT_EQ(source->Decode(one.at("ids").get<Ids>()), one.at("text").get<std::string>());
    }
  }
}

std::string Gunzip(const std::filesystem::path& path, size_t n_bytes) {
  std::string text(n_bytes, '\0');
  const gzFile file = gzopen(path.c_str(), "rb");
  const int n = file == nullptr ? 0 : gzread(file, text.data(), static_cast<unsigned>(n_bytes));
  if (file != nullptr) gzclose(file);
  text.resize(n > 0 ? n : 0);
  while (!IsValidUtf8(text)) text.pop_back();  // a character cut at the end
  return text;
}

/// Control bytes, emoji, CJK and any other code point, except ▁ itself, which reads as a space.
std::string RandomUnicode(size_t n_characters) {
  std::string text;
  for (size_t i = 0; i < n_characters; ++i) {
    const uint64_t bits = RandomBits(7, 0, i);
    constexpr uint32_t kStart[] = {0, 0x20, 0x4E00, 0x1F300, 0x80, 0x10000};
    constexpr uint32_t kCount[] = {0x20, 0x60, 0x5200, 0x400, 0xD780, 0x100000};
    const uint64_t block = bits % std::size(kStart);
    const uint32_t c = kStart[block] + (bits >> 8) % kCount[block];
    if (c != 0x2581) text += EncodeUtf8(c);
  }
  return text;
}

TEST(TokenizerVectors, AMillionCharactersRoundTrip) {
  OCTET_NEEDS_SHARED_DATA();
  const auto folder = SharedData() / "text";
  std::string text;
  for (const char* name :
       {"en/gutenberg_children_books.txt.gz", "de/eltec_novels_simplest_12MB.txt.gz",
        "fr/eltec_novels_simplest_12MB.txt.gz", "es/eltec_novels_simplest_12MB.txt.gz",
        "it/eltec_novels_simplest_12MB.txt.gz"}) {
    text += Gunzip(folder / name, 180'000);
    text += RandomUnicode(30'000);
  }
  size_t n_characters = 0;
  for (const char byte : text) n_characters += (byte & 0xC0) != 0x80;
  EXPECT_GE(n_characters, 1'000'000u);
  const auto sources = MistralV1();
  const Ids ids = sources.at("model")->Encode(text);
  EXPECT_EQ(sources.at("model")->Decode(ids), text);
  const std::string_view part = std::string_view(text).substr(0, text.find(' ', 250'000));
  const Ids part_ids = sources.at("model")->Encode(part);
  EXPECT_EQ(sources.at("json")->Encode(part), part_ids);
  EXPECT_EQ(sources.at("gguf")->Encode(part), part_ids);
}

}  // namespace
}  // namespace octet
