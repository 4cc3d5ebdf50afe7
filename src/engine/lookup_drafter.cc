#include "engine/lookup_drafter.h"

#include <algorithm>
#include <array>

#include "base/rng.h"

namespace octet {
namespace {

constexpr size_t kSlots = size_t{1} << 14;
constexpr int kMostPlaces = 64;     // of a pair that are looked at
constexpr int32_t kLongMatch = 32;  // longer ones tell nothing more
constexpr int32_t kShortest = 2;

/// Lengths from which on an agreement counts as the next better evidence, and how often such a
/// guess is right to begin with (English prose and code; learned anew for every engine).
struct Kind {
  int32_t length;
  double first_rate;
};
constexpr std::array<Kind, 8> kKinds = {
    {{2, 0.25}, {3, 0.4}, {4, 0.5}, {5, 0.6}, {7, 0.7}, {10, 0.8}, {16, 0.85}, {32, 0.9}}};
static_assert(kKinds.size() <= kEvidenceKinds);

int32_t EvidenceOf(int32_t length) {
  int32_t kind = 0;
  while (kind + 1 < static_cast<int32_t>(kKinds.size()) &&
         length >= kKinds[static_cast<size_t>(kind) + 1].length) {
    ++kind;
  }
  return kind;
}

}  // namespace

PairIndex::PairIndex(int64_t most_tokens)
    : newest_(kSlots, 0), previous_(static_cast<size_t>(most_tokens) + 1, 0) {}

void PairIndex::Clear() {
  std::fill(newest_.begin(), newest_.end(), 0);
  indexed_ = 0;
}

size_t PairIndex::Slot(int32_t first, int32_t second) const {
  return RandomBits(static_cast<uint64_t>(first), 0, static_cast<uint64_t>(second)) % kSlots;
}

void PairIndex::Extend(std::span<const int32_t> tokens) {
  const auto end =
      std::min(static_cast<int64_t>(tokens.size()), static_cast<int64_t>(previous_.size()) - 1);
  // A pair is entered when something follows it: the text's own end is no place to look.
  for (int64_t place = std::max<int64_t>(indexed_, 2); place < end; ++place) {
    int32_t& newest = newest_[Slot(tokens[static_cast<size_t>(place) - 2],
                                   tokens[static_cast<size_t>(place) - 1])];
    previous_[static_cast<size_t>(place)] = newest;
    newest = static_cast<int32_t>(place);
  }
  indexed_ = std::max(indexed_, end);
}

PairIndex::Match PairIndex::Longest(std::span<const int32_t> tokens) const {
  const auto n = static_cast<int64_t>(tokens.size());
  Match best;
  if (n < kShortest) return best;
  const auto at = [&](int64_t i) { return tokens[static_cast<size_t>(i)]; };
  int64_t place = newest_[Slot(at(n - 2), at(n - 1))];
  for (int looked = 0; place > 0 && looked < kMostPlaces; ++looked) {
    int32_t length = 0;
    while (length < kLongMatch && length < place && at(place - 1 - length) == at(n - 1 - length)) {
      ++length;
    }
    if (length > best.length && length >= kShortest) best = {place, length};
    if (best.length == kLongMatch) break;
    place = previous_[static_cast<size_t>(place)];
  }
  return best;
}

LookupDrafter::LookupDrafter(int32_t most_sequences, int64_t most_tokens) {
  texts_.reserve(static_cast<size_t>(most_sequences));
  for (int32_t i = 0; i < most_sequences; ++i) texts_.push_back({0, PairIndex(most_tokens)});
}

LookupDrafter::Text* LookupDrafter::Find(uint64_t sequence) {
  Text* unused = nullptr;
  for (Text& text : texts_) {
    if (text.sequence == sequence) return &text;
    if (text.sequence == 0) unused = &text;
  }
  if (unused != nullptr) {
    unused->sequence = sequence;
    unused->index.Clear();
  }
  return unused;
}

void LookupDrafter::Forget(uint64_t sequence) {
  for (Text& text : texts_) {
    if (text.sequence == sequence) text.sequence = 0;
  }
}

double LookupDrafter::FirstRate(int32_t evidence) const {
  return kKinds[std::min(static_cast<size_t>(evidence), kKinds.size() - 1)].first_rate;
}

double LookupDrafter::Draft(std::span<const DraftJob> jobs, Context&) {
  for (const DraftJob& job : jobs) {
    std::vector<DraftToken>& draft = *job.draft;
    draft.clear();
    Text* text = Find(job.sequence);
    if (text == nullptr) continue;
    text->index.Extend(job.tokens);
    const PairIndex::Match match = text->index.Longest(job.tokens);
    if (match.length == 0) continue;
    const auto n = static_cast<int64_t>(job.tokens.size());
    for (int32_t i = 0; i < job.most; ++i) {
      // Past the text's end the copy goes on with what it has copied: a loop goes round.
      const int64_t from = match.place + i;
      const int32_t id = from < n ? job.tokens[static_cast<size_t>(from)]
                                  : draft[static_cast<size_t>(from - n)].id;
      draft.push_back({id, EvidenceOf(match.length + i)});
    }
  }
  return 0;
}

}  // namespace octet
