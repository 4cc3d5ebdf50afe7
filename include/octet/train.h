// Training: from text to a model, from chats to an instruct model, from preferences to a preferred
// one. Part of the public facade. How it is used: docs/guides/train.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "octet/error.h"

namespace octet {

/// The shape of a model that begins from random weights.
struct TrainShape {
  int64_t layers = 6;
  int64_t d_model = 256;
  int64_t heads = 8;
  int64_t kv_heads = 4;
  int64_t head_dim = 0;  // 0: d_model / heads
  int64_t d_ff = 512;    // of one expert
  int64_t experts = 8;   // 0: a dense model
  int64_t experts_per_token = 2;
  double rope_theta = 1e4;
  bool tied = false;  // one matrix for embedding and head
};

/// One source of a run, before the first update.
struct TrainSource {
  std::string name;
  int64_t documents = 0, tokens = 0;  // chats, pairs or texts to learn from
  int64_t held_out = 0;               // of which nothing is learned
  /// Of all: longer than the context and cut to it (texts go on in the next sequence instead); and
  /// those of which nothing learned is left.
  int64_t cut = 0, without_target = 0;
};

struct TrainStart {
  int64_t parameters = 0, active_parameters = 0, trained_parameters = 0;
  int64_t first_step = 0;  // done before
  std::string precision;
  std::vector<TrainSource> sources;
};

struct TrainOptions {
  std::filesystem::path model;  // the checkpoint to begin from; empty: random weights of `shape`
  TrainShape shape;
  std::filesystem::path tokenizer;  // a file or folder; empty: the model's
  std::filesystem::path output;     // the run's folder: checkpoints, metrics.jsonl, tokens
  bool resume = false;              // go on from the newest checkpoint in `output`

  /// "NAME=PATH[,PATH…][@WEIGHT]": text (.txt, .txt.gz, JSONL with "text"), chats (JSONL with
  /// "messages"), preferences ("messages", "chosen", "rejected") or judgements ("messages",
  /// "label"). WEIGHT is the share of tokens.
  std::vector<std::string> sources;
  int64_t held_out = 0;  // documents at the end of every source that are never learned
  /// "NAME=PATH[,PATH…]": nothing of them is learned; their losses are measured.
  std::vector<std::string> held_out_sources;
  std::string chat_format;  // "mistral-v1" …; empty: what the tokenizer says, else Mistral's

  /// Above 0: adapters of that rank are trained beside the frozen weights of `model`, in whatever
  /// format it has; the checkpoints are folders of `lora_format`.
  int64_t lora_rank = 0;
  double lora_alpha = 0;  // 0: twice the rank
  std::vector<std::string> lora_targets = {"q_proj", "k_proj", "v_proj", "o_proj"};
  /// "peft" (experts one by one, for Transformers up to 4), "peft-fused" (from 5 on) or "mistral".
  std::string lora_format = "peft";

  std::string objective = "tokens";  // tokens, dpo, ipo, kto, orpo, simpo
  double beta = 0.1, label_smoothing = 0, gamma = 0.5, lambda = 0.1;
  double desirable_weight = 1, undesirable_weight = 1;  // kto
  double balance = 0.01, router_z = 0.001;              // coefficients of the router's losses
  /// Above 0: after every update each router's bias moves so much towards even loads, and the
  /// choice of experts goes by it (loss-free balancing; then `balance` is best 0).
  double balance_bias = 0;
  /// Above 0: an expert takes this times an even share of a micro-batch's choices, and the choices
  /// with the smallest weights beyond that go nowhere. Losses that are measured take all.
  double capacity_factor = 0;
  bool balance_per_layer = false;  // instead of pooled over layers as Hugging Face does

  int64_t steps = 1000;                   // updates in the whole run
  int64_t context = 512;                  // tokens of a sequence
  int64_t batch_tokens = 2048;            // of a micro-batch
  int64_t accumulate = 1;                 // micro-batches an update
  std::string schedule = "cosine";        // constant, linear, cosine, wsd
  double rate = 1e-3, final_rate = 0.1;   // the peak; the end, as a fraction of it
  int64_t warmup = 100, decay_steps = 0;  // updates; the latter for wsd; 0: a fifth of the steps
  /// "adamw"; or "muon" for the matrices of layers, each expert's by itself, and AdamW for
  /// embedding, head, routers and norms. Not for adapters.
  std::string optimizer = "adamw";
  double momentum = 0.95;  // Muon's
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1;
  double router_rate = 1;  // of the peak
  double clip = 1;
  /// Probability that a value of what attention or feed-forward adds to the residual stream is left
  /// out of an update (the others are scaled up); not when losses are measured. For data that is
  /// seen many times.
  double dropout = 0;
  /// Decay of an average of the weights, which each checkpoint holds as a model of its own in its
  /// folder "average"; 0: none.
  double average = 0;
  /// Of linear maps and their gradients: f32, or bf16 with float sums (needs AMX or AVX512_BF16).
  /// Empty: bf16 where the machine has it.
  std::string precision;
  bool recompute = false;  // keep less of the forward pass, compute it again
  uint64_t seed = 1;

  int64_t save_every = 500, held_out_every = 0;
  /// What the model makes of each prompt after so many updates, at temperature 0.8; 0: never. A
  /// model learning from chats or preferences is asked in their format.
  int64_t sample_every = 0;
  std::vector<std::string> sample_prompts = {"Once upon a time"};
  int64_t sample_tokens = 120;
  int keep = 3;
  std::string router_guard =
      "warn";       // when a router collapses or drifts: off, warn, stop, rollback
  int threads = 0;  // 0: one a core
  const std::atomic<bool>* stop = nullptr;               // saves and ends with kCancelled
  std::function<void(const TrainStart&)> on_start = {};  // once, before the first update
  /// While a source's files are made into tokens, which is done once: bytes so far, and of all.
  std::function<void(const std::string& source, int64_t done, int64_t total)> on_tokenise = {};
  /// For objectives with a reference model: after each batch of completions that it has judged,
  /// before the first update.
  std::function<void(int64_t done, int64_t total)> on_reference = {};
};

struct TrainSample {
  std::string prompt, text;  // what the model was given, and how it went on
};

struct HeldOutLoss {
  std::string source;
  double loss = 0;           // nats a token, or the objective's loss
  double bits_per_byte = 0;  // of text; 0 otherwise
  double accuracy = 0;       // of preferences: the share that is preferred as it should be
  /// Of each pair: the reward of what was chosen less that of what was rejected.
  std::vector<double> margins;
};

/// After every update; one line of metrics.jsonl.
struct TrainUpdate {
  int64_t step = 0, steps = 0;
  double loss = 0, balance = 0, router_z = 0, accuracy = 0;
  double rate = 0, grad_norm = 0;
  double dropped = 0;    // share of choices beyond the experts' capacity
  bool skipped = false;  // gradients were not finite
  int64_t tokens = 0;
  double seconds = 0, tokens_per_s = 0;
  /// Of the fastest this machine multiplies and adds in the run's precision (AMX bf16 tiles,
  /// bf16 dot products or float32 vectors, in registers, all threads; measured now and then): the
  /// operations that the model needs, forward and back, recomputation not counted.
  double peak_share = 0;
  std::vector<HeldOutLoss> held_out;
  std::vector<TrainSample> samples;
  std::string warning;                    // of the router's guard; empty: none
  std::vector<std::vector<double>> load;  // [layer][expert] share of the last micro-batch's rows
};

struct TrainReport {
  int64_t parameters = 0, active_parameters = 0;
  int64_t first_step = 0, steps = 0;  // done before, and in all
  std::filesystem::path checkpoint;   // the newest
};

/// Runs to the end of the run. A run that was killed at any moment and resumed ends with the bits
/// of an uninterrupted one. Errors: kInvalidArgument for options and data that do not fit,
/// kCancelled after `stop`, kInternal when the run diverged, and those of reading and writing.
Result<TrainReport> Train(const TrainOptions& options,
                          const std::function<void(const TrainUpdate&)>& on_update);

}  // namespace octet
