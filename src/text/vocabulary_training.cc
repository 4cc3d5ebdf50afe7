#include "text/vocabulary_training.h"

#include <sentencepiece_trainer.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "io/line_reader.h"

namespace octet {
namespace {

/// SentencePiece skips sentences beyond its limit, so longer lines are cut, at spaces.
constexpr size_t kMaxSentence = 4096;
constexpr char kDocumentEnd[] = "<|endoftext|>";

void AppendSentences(std::string_view text, std::vector<std::string>& out) {
  while (!text.empty()) {
    size_t n = std::min(text.find('\n'), text.size());
    const bool cut = n > kMaxSentence;
    if (cut) {
      const size_t space = text.rfind(' ', kMaxSentence);
      n = space == std::string_view::npos || space == 0 ? kMaxSentence : space;
      while (n > 1 && (static_cast<unsigned char>(text[n]) & 0xC0) == 0x80) --n;
    }
    if (n > 0) out.emplace_back(text.substr(0, n));
    text.remove_prefix(std::min(text.size(), cut ? n : n + 1));
  }
}

/// Every text a JSON line holds: "text", "chosen", "rejected", the contents of "messages".
void AppendJson(const std::string& line, std::vector<std::string>& out) {
  const auto object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object()) return;
  auto add = [&](const nlohmann::json& from, const char* key) {
    const auto found = from.find(key);
    if (found != from.end() && found->is_string()) AppendSentences(found->get<std::string>(), out);
  };
  for (const char* key : {"text", "chosen", "rejected"}) add(object, key);
  const auto messages = object.find("messages");
  if (messages == object.end() || !messages->is_array()) return;
  for (const auto& message : *messages) {
    if (message.is_object()) add(message, "content");
  }
}

/// Lines of all files as sentences, every `stride`-th.
class Sentences : public sentencepiece::SentenceIterator {
 public:
  Sentences(const std::vector<std::filesystem::path>& files, int64_t stride)
      : files_(files), stride_(stride) {
    Next();
  }
  bool done() const override { return done_; }
  const std::string& value() const override { return current_; }
  sentencepiece::util::Status status() const override { return {}; }
  const std::optional<Error>& error() const { return error_; }

  void Next() override {
    for (int64_t skip = 0; skip < stride_; ++skip) {
      while (pending_.empty() && !done_) Refill();
      if (done_) return;
      current_ = std::move(pending_.back());
      pending_.pop_back();
    }
  }

 private:
  void Fail(Error error) {
    error_ = std::move(error);
    done_ = true;
  }

  /// Reads a line into `pending_`, its sentences in reverse; `done_` at the end of the last file.
  void Refill() {
    if (!reader_) {
      if (file_ == files_.size()) {
        done_ = true;
        return;
      }
      auto opened = LineReader::Open(files_[file_++]);
      if (!opened) return Fail(opened.error());
      reader_.emplace(*std::move(opened));
    }
    std::string line;
    const auto more = reader_->Next(line);
    if (!more) return Fail(more.error());
    if (!*more) {
      reader_.reset();
      return;
    }
    if (line == kDocumentEnd) return;
    if (line.starts_with('{')) {
      AppendJson(line, pending_);
    } else {
      AppendSentences(line, pending_);
    }
    std::reverse(pending_.begin(), pending_.end());
  }

  const std::vector<std::filesystem::path>& files_;
  int64_t stride_;
  size_t file_ = 0;
  std::optional<LineReader> reader_;
  std::vector<std::string> pending_;
  std::string current_;
  bool done_ = false;
  std::optional<Error> error_;
};

/// Takes every n-th line so that at most `max_bytes` are left.
Result<int64_t> StrideFor(const TrainTokenizerOptions& options) {
  if (options.max_bytes <= 0) return 1;
  Sentences all(options.files, 1);
  int64_t bytes = 0;
  for (; !all.done(); all.Next()) bytes += static_cast<int64_t>(all.value().size());
  if (all.error()) return tl::unexpected<Error>(*all.error());
  return std::max<int64_t>(1, (bytes + options.max_bytes - 1) / options.max_bytes);
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text;
}

}  // namespace

Result<std::string> TrainSentencePiece(const TrainTokenizerOptions& options, int threads) {
  if (options.files.empty()) return Err(ErrorCode::kInvalidArgument, "no files of text were given");
  OCTET_ASSIGN(const int64_t stride, StrideFor(options));
  Sentences sentences(options.files, stride);
  if (sentences.done() && !sentences.error())
    return Err(ErrorCode::kInvalidArgument, "{}: no text to learn a vocabulary from",
               options.files.front().string());
  const std::unordered_map<std::string, std::string> settings = {
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(options.vocab_size)},
      {"character_coverage", fmt::format("{}", options.coverage)},
      {"control_symbols", Joined(options.reserved)},
      {"byte_fallback", "true"},
      {"split_digits", "true"},
      {"allow_whitespace_only_pieces", "true"},
      {"remove_extra_whitespaces", "false"},
      {"normalization_rule_name", "identity"},
      {"unk_id", "0"},
      {"bos_id", "1"},
      {"eos_id", "2"},
      {"pad_id", "-1"},
      {"max_sentence_length", std::to_string(kMaxSentence + 8)},
      {"train_extremely_large_corpus", "false"},
      {"num_threads", std::to_string(std::max(threads, 1))},
      {"minloglevel", "2"}};
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(settings, &sentences, &model);
  if (sentences.error()) return tl::unexpected<Error>(*sentences.error());
  if (!status.ok()) {
    // Behind the place in SentencePiece's source stands what a user can act on.
    const std::string text = status.ToString();
    const size_t place = text.rfind("] ");
    return Err(ErrorCode::kInvalidArgument, "a vocabulary of {}: {}", options.vocab_size,
               place == std::string::npos ? text : text.substr(place + 2));
  }
  return model;
}

}  // namespace octet
