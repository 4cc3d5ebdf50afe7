// Vocabularies for tests: the 512-piece model of tests/data, and a tokenizer.json made of one.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "support/must.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace octet::testing {

inline std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::filesystem::path SmallTokenizerPath() {
  return std::filesystem::path(OCTET_SOURCE_DIR) / "tests/data/tokenizer512.model";
}

inline std::unique_ptr<Tokenizer> SmallTokenizer() {
  return Must(TokenizerFromSentencePiece(ReadAll(SmallTokenizerPath()), "tokenizer512.model"));
}

/// Every pair of pieces that spells a piece, best score first: what Hugging Face's converter lists.
inline nlohmann::json MergesOf(const Vocabulary& vocabulary) {
  std::unordered_map<std::string, int> ids;
  std::vector<int> order;
  for (int id = 0; id < static_cast<int>(vocabulary.tokens.size()); ++id) {
    if (vocabulary.tokens[id].kind != TokenKind::kNormal) continue;
    ids.emplace(vocabulary.tokens[id].piece, id);
    order.push_back(id);
  }
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return vocabulary.tokens[a].score > vocabulary.tokens[b].score;
  });
  auto merges = nlohmann::json::array();
  for (const int id : order) {
    const std::string& piece = vocabulary.tokens[id].piece;
    for (size_t cut = Utf8Length(piece); cut < piece.size(); ++cut) {
      const std::string left = piece.substr(0, cut), right = piece.substr(cut);
      if (ids.contains(left) && ids.contains(right)) merges.push_back(left + " " + right);
    }
  }
  return merges;
}

/// A tokenizer.json in the form of the Llama family.
inline nlohmann::json TokenizerJsonOf(const Vocabulary& vocabulary) {
  nlohmann::json json;
  auto& model = json["model"];
  model = {{"type", "BPE"}, {"unk_token", "<unk>"}, {"byte_fallback", true}};
  auto& added = json["added_tokens"] = nlohmann::json::array();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const Vocabulary::Token& token = vocabulary.tokens[id];
    model["vocab"][token.piece] = id;
    if (token.kind == TokenKind::kControl || token.kind == TokenKind::kUserDefined) {
      const bool special = token.kind == TokenKind::kControl;
      added.push_back({{"id", id}, {"content", token.piece}, {"special", special}});
    }
  }
  model["merges"] = MergesOf(vocabulary);
  json["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers",
       {{{"type", "Prepend"}, {"prepend", "▁"}},
        {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}};
  json["pre_tokenizer"] = nullptr;
  json["post_processor"] = {{"type", "TemplateProcessing"},
                            {"single",
                             {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
                              {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}}};
  return json;
}

}  // namespace octet::testing
