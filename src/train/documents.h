// From files as people have them to tokenised documents.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "base/result.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "train/token_file.h"

namespace octet {

/// A line of its own that separates documents of a text file.
constexpr char kDocumentEnd[] = "<|endoftext|>";

enum class DocumentKind : uint8_t {
  kText,         // .txt, .txt.gz; or JSONL with "text"
  kChats,        // JSONL with "messages": what the assistant says is learned, each
                 // message times its "weight" if it has one
  kPreferences,  // JSONL with "messages", "chosen", "rejected": two documents each, the chosen
                 // first
  kJudgements,   // JSONL with "messages" that end with the assistant's, and "label", true or false:
                 // that answer is learned
};

/// The weight of an undesirable answer's tokens in a file of judgements; of a desirable one's, 1.
constexpr float kUndesirableMark = 2;

struct TokeniseOptions {
  ChatFormat chat_format = ChatFormat::kMistralV1;
  const std::atomic<bool>* stop = nullptr;  // ends with kCancelled
  int threads = 1;                          // for text; as ThreadPool takes them
  /// Now and then while files are read: bytes of them so far, and of all.
  std::function<void(int64_t done, int64_t total)> on_read = {};
};

/// The kind of a file, by its name and first line that is not blank. A .jsonl or .json (.gz) holds
/// JSON, whose keys decide; so does another file whose line is a JSON object; the rest is text.
Result<DocumentKind> RecogniseDocuments(const std::filesystem::path& file);

/// Tokens of all files, which must be of one kind: BOS, text, EOS; chats in the chat format.
/// Errors name file and line.
Status Tokenise(const std::vector<std::filesystem::path>& files, const Tokenizer& tokenizer,
                const TokeniseOptions& options, TokenFileWriter& writer);

/// What a token file of these was made from: their paths, sizes and times, the vocabulary and the
/// format.
Result<uint64_t> DocumentsKey(const std::vector<std::filesystem::path>& files,
                              const Tokenizer& tokenizer, const TokeniseOptions& options);

}  // namespace octet
