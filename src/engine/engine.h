// Requests in, tokens out: every step is one ragged batch of decode rows and prompt chunks.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "constrain/constraint.h"
#include "cpu/thread_pool.h"
#include "engine/engine_stats.h"
#include "engine/fair_queue.h"
#include "engine/page_manager.h"
#include "engine/request.h"
#include "engine/routing.h"
#include "engine/sequence.h"
#include "engine/speculate.h"
#include "model/adapter_set.h"
#include "model/forward.h"
#include "text/tokenizer.h"

namespace octet {

struct EngineOptions {
  int threads = 0;  // ≤ 0: one a physical core this process may use
  Arithmetic arithmetic = Arithmetic::kFast;
  Format kv_format = Format::kF16;
  int32_t page_tokens = 64;
  int64_t max_context = 0;         // tokens of one sequence; 0: the model's
  int32_t max_sequences = 1;       // running at once
  int32_t max_batch_tokens = 512;  // rows of one step, ≥ max_sequences
  /// Prompt rows of a step in which others decode, so that long prompts do not make them wait; 0:
  /// as many as fit.
  int32_t max_prompt_rows = 0;
  int64_t kv_pages = 0;            // 0: enough for max_sequences of max_context
  bool keep_prefixes = false;      // what texts begin with is not computed again while pages last
  SpeculationOptions speculation;  // changes how soon tokens come, never which
  /// Attached to the model, for requests to choose from; must outlive the engine. Null: none.
  const AdapterSet* adapters = nullptr;
};

/// Single owner: one thread calls everything. The model and the tokenizer must outlive it.
///
/// The tokens of a request depend on the model, its adapter, its prompt and its sampling options
/// alone: not on what else runs, how prompts are cut into chunks, or whether it was preempted.
class Engine {
 public:
  static Result<std::unique_ptr<Engine>> Create(const Model& model, const Tokenizer& tokenizer,
                                                const EngineOptions& options);

  /// Queues a request; its id. kInvalidArgument for an empty prompt, ids out of range, a prompt
  /// that leaves no room in the context, bad options, or a session that is unknown or in use.
  Result<uint64_t> Submit(Request request);
  /// The same in two parts. The first, which checks the request and may take a while, can run on
  /// any thread, but knows no sessions.
  Result<std::unique_ptr<Sequence>> Prepare(Request request) const;
  uint64_t Submit(std::unique_ptr<Sequence> sequence);
  /// Ends a request; its last event comes with the next Step. kNotFound when it is over or unknown.
  Status Cancel(uint64_t request);
  /// Computes one batch. The events stay valid until the next call, and may be taken.
  std::span<Event> Step();
  /// Whether Step has something to do.
  bool busy() const { return !queue_.empty() || !running_.empty() || !queued_.empty(); }

  /// A place for keys and values between requests (a conversation). They are given up, and computed
  /// again when needed, if running requests need the room.
  int64_t OpenSession() { return pages_.OpenSession(); }
  /// A request that uses it goes on without.
  void CloseSession(int64_t session) { pages_.CloseSession(session); }

  /// Logits [ids.size(), vocab] of every position of one text, apart from all requests.
  Result<std::vector<float>> AllLogits(std::span<const int32_t> ids);

  /// The mean over all positions of what the head reads of one text [d_model], apart from all
  /// requests.
  Result<std::vector<float>> MeanHidden(std::span<const int32_t> ids, int32_t adapter = 0);

  /// Rows that each expert had since the beginning [layers * experts]; empty for a dense model.
  /// From any thread.
  std::vector<int64_t> ExpertLoad() const { return routing_.Load(); }
  const ModelConfig& config() const { return model_.config(); }

  int threads() const { return pool_.threads(); }
  const EngineOptions& options() const { return options_; }
  int64_t free_pages() const { return pages_.free_pages(); }
  EngineStats stats() const;
  /// Gives up the beginnings of texts that no request uses.
  void ForgetPrefixes() { pages_.ForgetPrefixes(); }
  /// Keeps the beginnings of texts in a file, for an engine of the same model and options
  /// (engine/prefix_file.h); how many pages.
  Result<int64_t> SavePrefixes(const std::filesystem::path& path) {
    return pages_.SavePrefixes(path, PrefixHeader());
  }
  Result<int64_t> LoadPrefixes(const std::filesystem::path& path);
  /// The same file in parts, between which the engine may work (PageManager, PrefixFileWriter).
  PrefixFileHeader PrefixHeader() const;
  std::vector<uint64_t> PrefixHashes() const { return pages_.PrefixHashes(); }
  std::vector<PrefixRecord> CopyPrefixes(std::span<const uint64_t> hashes) {
    return pages_.CopyPrefixes(hashes);
  }

 private:
  Engine(const Model& model, const Tokenizer& tokenizer, const EngineOptions& options,
         const KernelTable& kernels, KvCache cache);

  /// Computes one text apart from all requests; `each` gets the logits of every position where
  /// `with_logits`, else of none.
  struct Apart {
    int32_t adapter = 0;
    bool with_logits = false;
    Observer* observer = nullptr;
    std::function<void(int64_t first, View<const float, 2> logits)> each = {};
  };
  Status ForwardApart(std::span<const int32_t> ids, const Apart& apart);
  Status CheckPrompt(std::span<const int32_t> prompt) const;
  Status CheckRequest(const Request& request) const;
  Status CheckSession(int64_t session) const;
  Status CheckExperts(const ExpertControls& experts) const;
  Status CheckAdapter(int32_t adapter) const;
  uint64_t PrefixRoot(int32_t adapter) const;
  template <class Reason>
  void FinishWhere(Reason reason_of);
  void FinishEarly();
  void AdmitWaiting();
  void MakeRoomForDecode();
  size_t Victim() const;
  void Preempt(size_t index);
  bool PlanDrafts(Context& context);
  void BuildBatch();
  void AddPromptRows(int64_t budget);
  bool WaitsForAnother(const Sequence& sequence) const;
  void AddRows(Sequence& sequence, int64_t count);
  void AddDraftRows(Sequence& sequence);
  void TracePrompts();
  void CommitRows(Sequence& sequence, int64_t first, View<float, 2> logits);
  void FinishPrompts();
  void UseRows(View<float, 2> logits);
  static void Judge(Sequence& sequence, int64_t position, std::span<const float> logits);
  int32_t Choose(Sequence& sequence, std::span<float> logits);
  void Commit(Sequence& sequence, int32_t id, std::span<const float> logits);
  Status StartConstraint(Sequence& sequence) const;
  static void AddLogProbs(const Sequence& sequence, std::span<const float> logits, Event& event);
  void Finish(Sequence& sequence, FinishReason reason, Event& event);

  const Model& model_;
  const Tokenizer& tokenizer_;
  EngineOptions options_;
  KernelTable kernels_;
  ThreadPool pool_;
  Arena scratch_;
  PageManager pages_;
  mutable ConstraintCompiler constraints_;
  RoutingRecorder routing_;

  FairQueue queue_;
  std::vector<std::unique_ptr<Sequence>> running_;  // in order of admission
  std::vector<Event> events_;                       // of the last Step
  std::vector<Event> queued_;                       // for the next one
  mutable std::atomic<uint64_t> next_id_ = 1;
  EngineStats stats_;  // the counters

  std::vector<int32_t> token_, position_, sequence_, logit_rows_;  // the batch
  std::vector<const ExpertControls*> controls_;                    // [rows]
  std::vector<int32_t> adapters_;                                  // [rows]
  /// Logits that choose a token, or judge the one that follows in the prompt.
  struct LogitRow {
    Sequence* sequence = nullptr;
    int64_t judges = -1;  // the row's position; -1: it chooses
  };
  std::vector<LogitRow> logit_owner_;  // [logit_rows]
  std::vector<int32_t> chosen_;        // [logit_rows] tokens of rows that no guess follows
  struct PromptShare {
    Sequence* sequence;
    int64_t rows;
  };
  std::vector<PromptShare> prompts_;  // of this step, the longest admitted first
  std::vector<Sequence*> decoding_;   // in this step

  std::unique_ptr<Speculator> speculator_;  // null: no guessing
  std::vector<Speculator::Room> rooms_;     // of the sequences that decode
  bool planned_ = false;                    // this step was
};

}  // namespace octet
