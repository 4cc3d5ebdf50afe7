// Octet as a C++ library: load a model, continue prompts, hold conversations.
// Guide: docs/guides/embedding-octet.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octet/chat.h"
#include "octet/constraint.h"
#include "octet/error.h"
#include "octet/generation.h"
#include "octet/sampling.h"

namespace octet {

struct LoadOptions {
  /// A Hugging Face or Mistral folder, or a GGUF file; empty: the model inside the program.
  std::string model;
  /// "FOLDER[:SCALE]": adapters beside the weights, PEFT's or Mistral's; empty: none.
  std::string adapter;
  int threads = 0;  // ≤ 0: one a physical core this process may use
  /// Tokens of prompt and answer together; 0: the model's own context, at most 8192, as keys and
  /// values of longer ones take gigabytes.
  int64_t context = 0;
  std::string kv_type = "f16";      // f32, f16, bf16 or q8_0
  std::string arithmetic = "fast";  // or "float32": every product in float32
  int32_t max_batch_tokens = 512;   // prompt tokens computed at a time
  /// Re-tile the weights for this machine's kernels while loading, where memory allows: the same
  /// bits, several times the speed. Off: weights are used where the file is mapped, and start at
  /// once.
  bool pack = true;
  /// Guessing ahead: "lookup" from what followed the same words before, "draft" by `draft_model`,
  /// "off"; empty: "draft" when there is a draft model. Several tokens are then computed in one
  /// step where that is faster, as measured while running. Tokens stay the same ones.
  std::string speculate;
  std::string draft_model;  // a smaller model with the same vocabulary, as `model`
  int32_t max_draft = 16;   // guesses a step at most, 1 to 32
  /// Called while re-tiling, with bytes done and in all.
  std::function<void(int64_t done, int64_t total)> on_pack = {};
};

struct ModelInfo {
  std::string name;          // of the folder or file, or of the embedded model
  std::string architecture;  // "mixtral", "mistral", "llama"
  int64_t parameters = 0;
  int64_t active_parameters = 0;  // used by one token
  int64_t vocab_size = 0;
  int64_t context = 0;          // in use
  int64_t trained_context = 0;  // the model's own
  int64_t weight_bytes = 0;
  int64_t kv_bytes_per_token = 0;
  std::string chat_format;  // "mistral-v1", "chatml" …; "raw" for a base model
  int threads = 0;
  double load_s = 0;
};

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t max_tokens = 128;       // ≥ 1; the context may end the answer earlier
  std::vector<std::string> stop;  // the text ends before the first of these
  Constraint constraint = {};     // what the text must be
  int32_t top_logprobs = -1;      // -1: none; 0: of the chosen tokens; n: of the n likeliest too
};

struct TokenReport {
  float logprob = 0;
  std::vector<TokenLogProb> top;  // best first
};

struct GenerateResult {
  std::string text;
  std::vector<int32_t> ids;  // an end token included
  FinishReason finish = FinishReason::kLength;
  std::vector<TokenReport> logprobs;  // one an id when asked for, else empty
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, kept from the turn before
  double prompt_s = 0;        // until the first token was chosen
  double decode_s = 0;        // from then to the last
  int64_t steps = 0;  // of the model for the answer: fewer than tokens when guesses were right
  int64_t drafted_tokens = 0;    // guesses computed
  int64_t accepted_tokens = 0;   // of them, right
  int64_t dropped_messages = 0;  // Conversation: left out so that the rest fits

  int64_t completion_tokens() const { return static_cast<int64_t>(ids.size()); }
};

/// Called after every step with the text that became certain: whole UTF-8 characters, empty while
/// the prompt is computed. False stops the answer; the result is then what there was, with
/// FinishReason::kCancelled.
using PieceCallback = std::function<bool(std::string_view piece)>;

class Conversation;

/// A loaded model. One thread at a time; several models may live side by side.
class LanguageModel {
 public:
  /// Errors name the file and what is wrong with it, or the option.
  static Result<LanguageModel> Load(const LoadOptions& options);
  ~LanguageModel();
  LanguageModel(LanguageModel&&) noexcept;
  LanguageModel& operator=(LanguageModel&&) noexcept;
  LanguageModel(const LanguageModel&) = delete;
  LanguageModel& operator=(const LanguageModel&) = delete;

  const ModelInfo& info() const;

  /// Ids of plain text; `add_bos` puts the begin token in front if the model wants one.
  Result<std::vector<int32_t>> Tokenize(std::string_view text, bool add_bos = true) const;
  Result<std::string> Detokenize(std::span<const int32_t> ids) const;

  /// Continues a plain text.
  Result<GenerateResult> Generate(std::string_view prompt, const GenerateOptions& options = {},
                                  const PieceCallback& callback = {});
  /// Continues token ids, taken as they are.
  Result<GenerateResult> Generate(std::span<const int32_t> prompt,
                                  const GenerateOptions& options = {},
                                  const PieceCallback& callback = {});
  /// Answers a conversation. `chat_format` empty: the model's own.
  Result<GenerateResult> Chat(std::span<const ChatMessage> messages,
                              const GenerateOptions& options = {},
                              const PieceCallback& callback = {},
                              std::string_view chat_format = {});

  /// Logits of every position [ids.size() · vocab_size], one row after another.
  Result<std::vector<float>> Logits(std::span<const int32_t> ids);

  /// A conversation that keeps its keys and values between turns. kInvalidArgument lists the names
  /// of formats when `chat_format` is not one; empty: the model's own.
  Result<Conversation> StartConversation(std::string_view chat_format = {});

  struct Impl;

 private:
  explicit LanguageModel(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

/// Turns of a chat. Keeps the model alive; used by the model's thread.
class Conversation {
 public:
  ~Conversation();
  Conversation(Conversation&&) noexcept;
  Conversation& operator=(Conversation&&) noexcept;
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  /// Messages so far, a system message first if there is one. May be edited freely between turns:
  /// only what changed is computed again.
  std::vector<ChatMessage>& messages();
  const std::vector<ChatMessage>& messages() const;
  /// Sets, replaces, or with an empty text removes the system message.
  void SetSystem(std::string_view text);

  /// Appends the user's message and the answer, also one that was stopped. When the context is
  /// full, the oldest turns are dropped from messages() and counted in the result. On an error the
  /// user's message is taken back.
  Result<GenerateResult> Say(std::string_view text, const GenerateOptions& options = {},
                             const PieceCallback& callback = {});
  /// Answers the last user message anew, in place of the answer it has.
  Result<GenerateResult> Retry(const GenerateOptions& options = {},
                               const PieceCallback& callback = {});
  /// The name of the format messages are rendered in.
  std::string_view chat_format() const;
  /// The rendered conversation's length in tokens; 0 before the first question.
  Result<int64_t> Tokens() const;

 private:
  friend class LanguageModel;
  struct Impl;
  explicit Conversation(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet
