#include "engine/speculate.h"

#include <algorithm>
#include <chrono>

namespace octet {
namespace {

using Clock = std::chrono::steady_clock;

/// Rows of guesses in one step, all sequences together: beyond them a step is no longer bound by
/// what it reads.
constexpr int32_t kMostExtra = 64;

StepPrior PriorOf(const Model& model) {
  const ModelConfig& config = model.config();
  const Weights& weights = model.weights();
  StepPrior prior;
  double shared = static_cast<double>(weights.head.bytes()), experts = 0;
  for (const LayerWeights& layer : weights.layers) {
    for (const WeightMatrix* w : {&layer.wq, &layer.wk, &layer.wv, &layer.wo})
      shared += static_cast<double>(w->bytes());
    for (const Expert& expert : layer.experts)
      experts += static_cast<double>(expert.w1.bytes() + expert.w2.bytes() + expert.w3.bytes());
  }
  prior.shared_bytes = shared + (config.is_moe() ? 0.0 : experts);
  if (config.is_moe()) {
    prior.n_experts = config.n_experts;
    prior.experts_per_token = config.n_experts_per_token;
    prior.expert_bytes = experts / static_cast<double>(config.n_experts);
  }
  return prior;
}

}  // namespace

Speculator::Speculator(SpeculationOptions options, const Model& model, int32_t max_sequences)
    : options_(std::move(options)), rates_(*options_.drafter) {
  options_.max_draft = std::clamp(options_.max_draft, 1, kMostDraft);
  const StepPrior prior = PriorOf(model);
  for (int32_t n = 1; n <= max_sequences; ++n) {
    times_.emplace_back(prior, n, std::min(kMostExtra, n * options_.max_draft));
  }
  jobs_.reserve(static_cast<size_t>(max_sequences));
  offers_.reserve(static_cast<size_t>(max_sequences));
}

void Speculator::Prepare(Sequence& sequence) const {
  sequence.draft.reserve(static_cast<size_t>(options_.max_draft));
  sequence.paper.ids.reserve(static_cast<size_t>(options_.max_draft));
}

void Speculator::Forget(const Sequence& sequence) { options_.drafter->Forget(sequence.id); }

/// How many guesses to ask a drafter for that takes time.
int32_t Speculator::PlannedLength(std::span<const Room> rooms, StepTimes& times,
                                  double& least_chance) {
  const auto n = static_cast<int64_t>(rooms.size());
  const double measured_s = options_.drafter->RoundSeconds(n);
  // What it costs is not known before it was tried: with a few.
  constexpr int32_t kFirstTry = 2;
  const int32_t most =
      measured_s < 0 ? std::min(kFirstTry, options_.max_draft) : options_.max_draft;
  const double round_s = std::max(0.0, measured_s);
  const DraftPlan plan = PlanDraft(rates_.Overall(), round_s, n, most, times);
  least_chance = plan.least_chance;
  if (plan.length == 0) return rates_.Fade(), 0;
  const double plain_rate = static_cast<double>(n) / times.Seconds(0);
  double catch_up_s = 0, tokens_left = 0;
  for (const Room& room : rooms) {
    const Sequence& s = *room.sequence;
    catch_up_s += options_.drafter->CatchUpSeconds(s.id, s.length());
    tokens_left += static_cast<double>(s.request.max_tokens - s.answered());
  }
  const double saving_s = tokens_left * (1.0 / plain_rate - 1.0 / plan.tokens_per_s);
  return catch_up_s > saving_s ? 0 : plan.length;
}

void Speculator::Plan(std::span<const Room> rooms, Context& context) {
  committed_ = 0;
  draft_s_ = invested_s_ = 0;
  for (const Room& room : rooms) {
    room.sequence->draft.clear();
    room.sequence->draft_rows = 0;
  }
  if (rooms.empty()) return;
  StepTimes& times = times_[rooms.size() - 1];
  const bool can_guess = times.ready() && !times.WantsPlainStep();
  const bool guess = options_.always || (can_guess && limit_.allows_guessing());
  int32_t length = options_.max_draft;
  double least_chance = 0;
  if (!options_.always && !options_.drafter->free()) {
    length = guess ? PlannedLength(rooms, times, least_chance) : 0;
  }
  if (length == 0) return;
  jobs_.clear();
  for (const Room& room : rooms) {
    Sequence& s = *room.sequence;
    jobs_.push_back(
        {s.id, s.tokens, &s.sampler, std::min(length, room.most), least_chance, &s.draft});
  }
  const auto start = Clock::now();
  invested_s_ = options_.drafter->Draft(jobs_, context);
  draft_s_ = std::chrono::duration<double>(Clock::now() - start).count();
  if (!can_guess && !guess) return;
  const int32_t extra = Choose(rooms, times);
  if (!guess && extra > 0) TakeOnPaper(rooms, times, extra);
}

/// What was chosen is not computed, only followed, where nothing is followed already.
void Speculator::TakeOnPaper(std::span<const Room> rooms, const StepTimes& times, int32_t extra) {
  a_token_s_ = times.Seconds(0) / static_cast<double>(rooms.size());
  const double row_s = (times.Seconds(extra) - times.Seconds(0)) / extra;
  for (const Room& room : rooms) {
    Sequence& s = *room.sequence;
    if (s.paper.ids.empty() && s.draft_rows > 0) {
      for (int32_t i = 0; i < s.draft_rows; ++i)
        s.paper.ids.push_back(s.draft[static_cast<size_t>(i)].id);
      s.paper.first = s.length();
      s.paper.right = 0;
      s.paper.cost_s = row_s * s.draft_rows;
    }
    s.draft_rows = 0;
  }
}

void Speculator::FollowPaper(Sequence& s, int64_t committed) {
  PaperGuess& paper = s.paper;
  const auto n = static_cast<int64_t>(paper.ids.size());
  for (int64_t at = s.length() - committed; at < s.length() && !paper.ids.empty(); ++at) {
    // Steps that also compute prompts are not seen here: then nothing is known.
    const bool seen = at == paper.first + paper.right;
    const bool right =
        seen && paper.ids[static_cast<size_t>(paper.right)] == s.tokens[static_cast<size_t>(at)];
    if (right && ++paper.right < n) continue;
    if (seen) limit_.AddPaper(static_cast<double>(paper.right) * a_token_s_ - paper.cost_s);
    paper.ids.clear();
  }
}

int32_t Speculator::Choose(std::span<const Room> rooms, const StepTimes& times) {
  offers_.clear();
  for (const Room& room : rooms) {
    DraftOffer& offer = offers_.emplace_back();
    const std::vector<DraftToken>& draft = room.sequence->draft;
    offer.offered = std::min(static_cast<int32_t>(draft.size()), room.most);
    for (int32_t i = 0; i < offer.offered; ++i) {
      const auto at = static_cast<size_t>(i);
      offer.chance[at] = rates_.Rate(draft[at].evidence);
    }
    offer.taken = offer.offered;
  }
  if (!options_.always) ChooseDrafts(offers_, times);
  int32_t extra = 0;
  for (size_t i = 0; i < rooms.size(); ++i) {
    rooms[i].sequence->draft_rows = offers_[i].taken;
    extra += offers_[i].taken;
  }
  return extra;
}

void Speculator::Learn(Sequence& s, int32_t committed) {
  committed_ += committed;
  s.guesses.drafted += s.draft_rows;
  FollowPaper(s, committed);
  // The last guess that can be judged is the one a chosen token stands against; guesses that were
  // not computed are judged too, as far as tokens go.
  const auto n = std::min<int64_t>(committed, static_cast<int64_t>(s.draft.size()));
  for (int64_t i = 0; i < n; ++i) {
    const DraftToken& guess = s.draft[static_cast<size_t>(i)];
    const bool right = guess.id == s.tokens[static_cast<size_t>(s.length() - committed + i)];
    rates_.Add(guess.evidence, right);
    if (!right) break;
    if (i < s.draft_rows) ++s.guesses.accepted;
  }
}

void Speculator::StepDone(int64_t sequences, int64_t rows, double seconds) {
  StepTimes& times = times_[static_cast<size_t>(sequences) - 1];
  const int64_t extra = rows - sequences;
  if (extra <= times.most_extra()) times.Add(static_cast<int32_t>(extra), seconds - draft_s_);
  const double a_token_s = times.Seconds(0) / static_cast<double>(sequences);
  limit_.Add(seconds - invested_s_, static_cast<double>(committed_) * a_token_s);
}

}  // namespace octet
