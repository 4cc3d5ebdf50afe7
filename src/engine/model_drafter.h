// Guesses by a smaller model with the same vocabulary (Leviathan et al. 2023).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/drafter.h"
#include "model/forward.h"
#include "text/tokenizer.h"

namespace octet {

struct ModelDrafterOptions {
  Format kv_format = Format::kF16;
  int32_t page_tokens = 64;
  int64_t max_context = 0;  // of the engine it serves
  int32_t max_sequences = 1;
  int32_t max_batch_tokens = 512;
  int64_t vocab_size = 0;  // rows of the logits that the samplers expect
};

/// kInvalidArgument when the two do not number the same pieces: a guess would mean another word.
Status CheckSameVocabulary(const Tokenizer& tokenizer, const Tokenizer& draft);

/// Has keys and values of its own, kept in step with what was accepted: what a rejected guess wrote
/// is forgotten with it. A finished text's are kept until their room is needed, as the next request
/// may go on from it. A guess is what the request's own sampler chooses from the smaller model's
/// logits with the same random number, which is right more often than its likeliest token.
class ModelDrafter : public Drafter {
 public:
  /// The model must outlive it. kInvalidArgument when its logits have another width.
  static Result<std::unique_ptr<ModelDrafter>> Create(const Model& model,
                                                      const ModelDrafterOptions& options);

  double Draft(std::span<const DraftJob> jobs, Context& context) override;
  void Forget(uint64_t sequence) override;
  bool free() const override { return false; }
  double FirstRate(int32_t evidence) const override;
  double RoundSeconds(int64_t sequences) const override;
  double CatchUpSeconds(uint64_t sequence, int64_t tokens) const override;

 private:
  struct Text {
    uint64_t sequence = 0;        // 0: of a sequence that is over
    std::vector<int32_t> tokens;  // whose keys and values are in the cache, in order
    int32_t kv = -1;
    std::optional<Sampler> sampler;
    uint64_t last_use = 0;
  };
  /// A job on its way through the rounds.
  struct Active {
    const DraftJob* job;
    Text* text;
    double chance;
  };
  ModelDrafter(const Model& model, const ModelDrafterOptions& options, KvCache cache);
  const Text* Find(uint64_t sequence) const;
  Text* Take(const DraftJob& job);
  /// Feeds all of the job's tokens but the last few. False when the cache has no room.
  bool CatchUp(const DraftJob& job, Text& text, Context& context);
  void AddRow(Text& text, int32_t token);
  /// One step over the rows added; the guesses of every active job, some of which end.
  void Round(Context& context);
  bool Guess(Active& active, std::span<float> logits);

  const Model& model_;
  ModelDrafterOptions options_;
  KvCache cache_;
  std::vector<Text> texts_;
  std::vector<Active> active_;
  std::vector<int32_t> token_, position_, sequence_, logit_rows_;  // the batch
  std::vector<double> round_s_;                                    // [sequences] running means
  double row_s_ = 0;                                               // of one token while catching up
  double catch_up_s_ = 0;                                          // of this call
  uint64_t clock_ = 0;
};

}  // namespace octet
