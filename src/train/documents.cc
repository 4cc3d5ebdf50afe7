#include "train/documents.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <utility>

#include "cpu/thread_pool.h"
#include "io/line_reader.h"

namespace octet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string Where(const fs::path& file, int64_t line) {
  return fmt::format("{}:{}", file.string(), line);
}

Result<std::string> StringOf(const json& object, const char* key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string())
    return Err(ErrorCode::kCorrupt, "{}: expected a string \"{}\"", where, key);
  return found->get<std::string>();
}

constexpr double kMaxWeight = 1000;

/// A message and how much its tokens count: "weight" as mistral-finetune has it, of any size.
struct WeightedMessages {
  std::vector<ChatMessage> messages;
  std::vector<float> weights;  // of the assistant's, in order
};

Result<float> WeightOf(const json& message, const std::string& where) {
  const auto found = message.find("weight");
  if (found == message.end() || found->is_null()) return 1.0f;
  const double weight = found->is_number() ? found->get<double>() : -1;
  if (!(weight >= 0 && weight <= kMaxWeight)) {
    return Err(ErrorCode::kCorrupt, "{}: the weight of a message is {}, expected 0 to {}", where,
               found->dump(), kMaxWeight);
  }
  return static_cast<float>(weight);
}

Result<WeightedMessages> MessagesOf(const json& object, const std::string& where) {
  const auto list = object.find("messages");
  if (list == object.end() || !list->is_array() || list->empty())
    return Err(ErrorCode::kCorrupt, "{}: expected a list \"messages\"", where);
  WeightedMessages out;
  for (const json& entry : *list) {
    if (!entry.is_object())
      return Err(ErrorCode::kCorrupt, "{}: a message is not an object", where);
    OCTET_ASSIGN(std::string role, StringOf(entry, "role", where));
    OCTET_ASSIGN(std::string content, StringOf(entry, "content", where));
    if (role == "assistant") {
      OCTET_ASSIGN(const float weight, WeightOf(entry, where));
      out.weights.push_back(weight);
    }
    out.messages.push_back({std::move(role), std::move(content)});
  }
  return out;
}

struct FileForm {
  DocumentKind kind = DocumentKind::kText;
  bool is_json = false;  // an object a line
};

bool IsBlank(const std::string& line) { return line.find_first_not_of(" \t") == std::string::npos; }

/// What the file's name says: stories.jsonl.gz → ".jsonl".
std::string ExtensionOf(fs::path file) {
  if (file.extension() == ".gz") file = file.stem();
  return file.extension().string();
}

Result<FileForm> FormOf(const fs::path& file) {
  OCTET_ASSIGN(LineReader reader, LineReader::Open(file));
  const std::string extension = ExtensionOf(file);
  const bool must_be_json = extension == ".jsonl" || extension == ".json";
  std::string line;
  bool any = true;
  do {
    OCTET_ASSIGN(any, reader.Next(line));
  } while (any && IsBlank(line));
  if (!any) return FileForm{DocumentKind::kText, must_be_json};
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object()) {
    if (!must_be_json && (extension == ".txt" || !line.starts_with('{'))) return FileForm{};
    return Err(ErrorCode::kCorrupt, "{}: expected a JSON object in one line{}",
               Where(file, reader.line_number()),
               line.starts_with('[') ? ", not a list: one line for each of its elements" : "");
  }
  if (object.contains("chosen")) return FileForm{DocumentKind::kPreferences, true};
  if (object.contains("messages")) {
    const auto label = object.find("label");
    const bool judged = label != object.end() && label->is_boolean();
    return FileForm{judged ? DocumentKind::kJudgements : DocumentKind::kChats, true};
  }
  if (object.contains("text")) return FileForm{DocumentKind::kText, true};
  return Err(ErrorCode::kUnsupported,
             "{}: a JSON object without \"text\", \"messages\" or \"chosen\"",
             Where(file, reader.line_number()));
}

/// Texts to documents, some of them at a time, in the order they came.
class TextTokeniser {
 public:
  TextTokeniser(const Tokenizer& tokenizer, int threads, TokenFileWriter& writer)
      : tokenizer_(tokenizer), pool_(threads), writer_(writer) {}

  void Add(std::string_view text) {
    while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
    while (!text.empty() && text.front() == '\n') text.remove_prefix(1);
    if (text.empty()) return;
    texts_.emplace_back(text);
    bytes_ += text.size();
    constexpr size_t kBytesATime = 1u << 20;
    if (bytes_ >= kBytesATime) Flush();
  }

  void Flush() {
    std::vector<std::vector<int32_t>> ids(texts_.size());
    pool_.ParallelFor(static_cast<int64_t>(texts_.size()), [&](int64_t task, int) {
      const auto i = static_cast<size_t>(task);
      ids[i] = {tokenizer_.vocabulary().bos};
      const std::vector<int32_t> body = tokenizer_.Encode(texts_[i]);
      ids[i].insert(ids[i].end(), body.begin(), body.end());
      ids[i].push_back(tokenizer_.vocabulary().eos);
    });
    for (const std::vector<int32_t>& document : ids) writer_.Add(document);
    texts_.clear();
    bytes_ = 0;
  }

 private:
  const Tokenizer& tokenizer_;
  ThreadPool pool_;
  TokenFileWriter& writer_;
  std::vector<std::string> texts_;
  size_t bytes_ = 0;
};

/// One file's lines to documents of a kind.
class FileTokeniser {
 public:
  FileTokeniser(const Tokenizer& tokenizer, const TokeniseOptions& options, TokenFileWriter& writer)
      : tokenizer_(tokenizer),
        options_(options),
        writer_(writer),
        texts_(tokenizer, options.threads, writer) {}

  /// `before`: bytes of the files before this one; `total`: of all.
  Status Run(const fs::path& file, const FileForm& form, int64_t before, int64_t total) {
    OCTET_ASSIGN(LineReader reader, LineReader::Open(file));
    std::string line, text;
    while (true) {
      OCTET_ASSIGN(const bool more, reader.Next(line));
      if (!more) break;
      if (options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed))
        return Err(ErrorCode::kCancelled, "stopped while reading {}", file.string());
      constexpr int64_t kLinesATime = 256;
      if (options_.on_read && reader.line_number() % kLinesATime == 0)
        options_.on_read(before + reader.bytes_read(), total);
      if (form.is_json) {
        OCTET_TRY(AddJson(line, form.kind, Where(file, reader.line_number())));
      } else if (line == kDocumentEnd) {
        texts_.Add(std::exchange(text, {}));
      } else {
        text += line;
        text += '\n';
      }
    }
    texts_.Add(text);
    texts_.Flush();
    return {};
  }

 private:
  Status AddChat(const WeightedMessages& chat, const std::string& where) {
    auto rendered = RenderChat(options_.chat_format, chat.messages, tokenizer_);
    if (!rendered) return Err(rendered.error().code, "{}: {}", where, rendered.error().message);
    // What the assistant says is a run of marked tokens for each of its messages.
    const std::vector<uint8_t>& marked = rendered->is_assistant;
    std::vector<float> weights(marked.size());
    size_t message = 0;
    for (size_t i = 0; i < marked.size(); ++i) {
      if (marked[i] == 0) continue;
      if (message == chat.weights.size())
        return Err(ErrorCode::kInternal, "{}: the answers of the chat cannot be told apart", where);
      weights[i] = chat.weights[message];
      if (i + 1 < marked.size() && marked[i + 1] == 0) ++message;
    }
    writer_.Add(rendered->ids, weights);
    return {};
  }

  /// Only the last answer is learned, and its weight says which kind it is of.
  Status AddJudgement(const json& object, WeightedMessages chat, const std::string& where) {
    const auto label = object.find("label");
    if (label == object.end() || !label->is_boolean())
      return Err(ErrorCode::kCorrupt, "{}: expected \"label\", true or false", where);
    if (chat.messages.back().role != "assistant") {
      return Err(ErrorCode::kCorrupt,
                 "{}: the last message is not the assistant's; there is no answer to judge", where);
    }
    std::fill(chat.weights.begin(), chat.weights.end(), 0.0f);
    chat.weights.back() = label->get<bool>() ? 1 : kUndesirableMark;
    return AddChat(chat, where);
  }

  Status AddJson(const std::string& line, DocumentKind kind, const std::string& where) {
    if (IsBlank(line)) return {};
    const json object = json::parse(line, nullptr, false);
    if (!object.is_object())
      return Err(ErrorCode::kCorrupt, "{}: expected a JSON object in one line", where);
    if (kind == DocumentKind::kText) {
      OCTET_ASSIGN(const std::string text, StringOf(object, "text", where));
      texts_.Add(text);
      return {};
    }
    OCTET_ASSIGN(WeightedMessages chat, MessagesOf(object, where));
    if (kind == DocumentKind::kChats && chat.weights.empty()) {
      return Err(ErrorCode::kCorrupt,
                 "{}: no message is the assistant's; there is nothing to learn from this chat",
                 where);
    }
    if (kind == DocumentKind::kChats) return AddChat(chat, where);
    if (kind == DocumentKind::kJudgements) return AddJudgement(object, std::move(chat), where);
    // Of a preference only the two answers are learned.
    std::fill(chat.weights.begin(), chat.weights.end(), 0.0f);
    chat.weights.push_back(1);
    for (const char* key : {"chosen", "rejected"}) {
      OCTET_ASSIGN(std::string answer, StringOf(object, key, where));
      WeightedMessages with_answer = chat;
      with_answer.messages.push_back({"assistant", std::move(answer)});
      OCTET_TRY(AddChat(with_answer, where));
    }
    return {};
  }

  const Tokenizer& tokenizer_;
  const TokeniseOptions& options_;
  TokenFileWriter& writer_;
  TextTokeniser texts_;  // a file is all text, or has none
};

/// FNV-1a, 64 bits.
struct Hash {
  uint64_t value = 0xcbf29ce484222325ull;
  void Add(std::string_view bytes) {
    for (const char c : bytes) value = (value ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
    value = (value ^ 0xff) * 0x100000001b3ull;  // where one field ends
  }
};

}  // namespace

Result<DocumentKind> RecogniseDocuments(const fs::path& file) {
  OCTET_ASSIGN(const FileForm form, FormOf(file));
  return form.kind;
}

Status Tokenise(const std::vector<fs::path>& files, const Tokenizer& tokenizer,
                const TokeniseOptions& options, TokenFileWriter& writer) {
  FileTokeniser tokeniser(tokenizer, options, writer);
  std::vector<int64_t> before = {0};
  for (const fs::path& file : files) {
    std::error_code error;
    const auto size = fs::file_size(file, error);
    before.push_back(before.back() + (error ? 0 : static_cast<int64_t>(size)));
  }
  for (size_t i = 0; i < files.size(); ++i) {
    const fs::path& file = files[i];
    OCTET_ASSIGN(const FileForm first, FormOf(files.front()));
    OCTET_ASSIGN(const FileForm form, FormOf(file));
    if (form.kind != first.kind) {
      return Err(ErrorCode::kInvalidArgument,
                 "{} and {} hold different kinds of documents; give them as two sources",
                 files.front().string(), file.string());
    }
    OCTET_TRY(tokeniser.Run(file, form, before[i], before.back()));
  }
  if (options.on_read) options.on_read(before.back(), before.back());
  return {};
}

Result<uint64_t> DocumentsKey(const std::vector<fs::path>& files, const Tokenizer& tokenizer,
                              const TokeniseOptions& options) {
  Hash hash;
  for (const fs::path& file : files) {
    std::error_code error;
    const auto size = fs::file_size(file, error);
    if (error) return Err(ErrorCode::kNotFound, "{}: {}", file.string(), error.message());
    const auto time = fs::last_write_time(file, error).time_since_epoch().count();
    hash.Add(fmt::format("{} {} {}", file.string(), size, time));
  }
  hash.Add(ChatFormatName(options.chat_format));
  for (const Vocabulary::Token& token : tokenizer.vocabulary().tokens) hash.Add(token.piece);
  return hash.value;
}

}  // namespace octet
