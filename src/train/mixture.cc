#include "train/mixture.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "train/shuffle.h"

namespace octet {

Result<Mixture> Mixture::Create(std::vector<Source> sources, const MixtureOptions& options) {
  if (sources.empty() || sources.front().weight == 0)
    return Err(ErrorCode::kInvalidArgument, "no source of documents to learn from was given");
  if (options.context < 2 || options.batch_tokens < options.context) {
    return Err(ErrorCode::kInvalidArgument,
               "a batch of {} tokens cannot hold a sequence of {}; expected at least the context, "
               "which is at least 2",
               options.batch_tokens, options.context);
  }
  Mixture mixture;
  mixture.options_ = options;
  mixture.sources_ = std::move(sources);
  size_t learned = 0;
  for (size_t i = 0; i < mixture.sources_.size(); ++i) {
    const Source& source = mixture.sources_[i];
    const bool held_out = source.weight == 0 && source.documents == 0;
    if (!held_out) CHECK(++learned == i + 1);
    if (!held_out && (mixture.Takes(i) < 1 || !(source.weight > 0))) {
      return Err(ErrorCode::kInvalidArgument,
                 "source {} has {} documents to learn from and weight {}; expected some, and a "
                 "weight above 0",
                 source.name, source.documents, source.weight);
    }
    if (source.kind != mixture.kind()) {
      return Err(ErrorCode::kInvalidArgument,
                 "sources {} and {} hold different kinds of documents; train on one kind at a time",
                 mixture.sources_.front().name, source.name);
    }
  }
  if (mixture.kind() == DocumentKind::kPreferences && options.batch_tokens < 2 * options.context) {
    return Err(ErrorCode::kInvalidArgument,
               "a batch of {} tokens cannot hold a pair of sequences of {}; expected at least {}",
               options.batch_tokens, options.context, 2 * options.context);
  }
  mixture.cursor_.sources.resize(learned);
  return mixture;
}

Status Mixture::Restore(Cursor cursor) {
  bool fits = cursor.sources.size() == cursor_.sources.size();
  for (const Cursor::Place& place : cursor.sources)
    fits = fits && place.documents >= 0 && place.offset >= 0 && place.tokens >= 0;
  if (!fits) {
    return Err(ErrorCode::kInvalidArgument,
               "the saved place in the data does not fit its {} sources; resume with the data the "
               "run began with",
               cursor_.sources.size());
  }
  cursor_ = std::move(cursor);
  return {};
}

/// The one furthest behind its share.
size_t Mixture::NextSource() const {
  size_t best = 0;
  auto progress = [&](size_t i) {
    return static_cast<double>(cursor_.sources[i].tokens) / sources_[i].weight;
  };
  for (size_t i = 1; i < cursor_.sources.size(); ++i) {
    if (progress(i) < progress(best)) best = i;
  }
  return best;
}

int64_t Mixture::NextDocument(size_t source) const {
  const auto n = static_cast<uint64_t>(Takes(source));
  const auto taken = static_cast<uint64_t>(cursor_.sources[source].documents);
  // A stream for every source and epoch.
  const uint64_t stream = taken / n * cursor_.sources.size() + source;
  return static_cast<int64_t>(Permuted(taken % n, n, options_.seed, stream)) * PerTake();
}

double Mixture::Epochs(size_t source) const {
  return static_cast<double>(cursor_.sources[source].documents) /
         static_cast<double>(Takes(source));
}

/// False when the batch is full.
Result<bool> Mixture::TakeText(size_t source, TrainBatch& batch) {
  // A sequence of one row would predict nothing.
  const int64_t room = options_.batch_tokens - static_cast<int64_t>(batch.token.size());
  if (room < 2) return false;
  Cursor::Place& place = cursor_.sources[source];
  const TokenFile& file = sources_[source].tokens;
  const int64_t document = NextDocument(source);
  const int64_t left = file.Size(document) - place.offset;
  const int64_t n = std::max<int64_t>(std::min({left, room, options_.context}), 0);
  std::vector<int32_t> ids;
  OCTET_TRY(file.Read(document, place.offset, n, options_.vocab_size, ids));
  if (n >= 2) batch.Append(ids);
  place.tokens += std::max<int64_t>(n, 1);
  if (n < left) {
    place.offset += n - 1;  // the last token was predicted, and predicts the next
  } else {
    place.offset = 0;
    ++place.documents;
  }
  return true;
}

int64_t Mixture::RowsOf(const Source& source, int64_t document) const {
  return std::min(source.tokens.Size(document), options_.context);
}

Status Mixture::AppendWhole(size_t index, int64_t document, TrainBatch& batch) const {
  const Source& source = sources_[index];
  const int64_t n = RowsOf(source, document);
  std::vector<int32_t> ids;
  OCTET_TRY(source.tokens.Read(document, 0, n, options_.vocab_size, ids));
  OCTET_ASSIGN(std::vector<float> weights, source.tokens.Weights(document, 0, n));
  if (!weights.empty()) weights.erase(weights.begin());  // that of predicting a token is its own
  bool desirable = source.kind != DocumentKind::kPreferences || document % 2 == 0;
  if (source.kind == DocumentKind::kJudgements) {
    desirable = std::find(weights.begin(), weights.end(), kUndesirableMark) == weights.end();
    std::replace(weights.begin(), weights.end(), kUndesirableMark, 1.0f);
  }
  batch.Append(ids, weights);
  batch.completions.back().source = static_cast<int32_t>(index);
  batch.completions.back().document = document;
  batch.completions.back().desirable = desirable;
  return {};
}

Result<bool> Mixture::TakeWhole(size_t source, TrainBatch& batch) {
  const int64_t document = NextDocument(source);
  int64_t rows = 0;
  for (int64_t i = 0; i < PerTake(); ++i) rows += RowsOf(sources_[source], document + i);
  if (static_cast<int64_t>(batch.token.size()) + rows > options_.batch_tokens) return false;
  for (int64_t i = 0; i < PerTake(); ++i) OCTET_TRY(AppendWhole(source, document + i, batch));
  ++cursor_.sources[source].documents;
  cursor_.sources[source].tokens += std::max<int64_t>(rows, 1);
  return true;
}

Result<TrainBatch> Mixture::Next() {
  TrainBatch batch;
  const Cursor before = cursor_;
  bool took = true;
  while (took) {
    const size_t source = NextSource();
    OCTET_ASSIGN(
        took, kind() == DocumentKind::kText ? TakeText(source, batch) : TakeWhole(source, batch));
    // Documents too short to predict anything must not be walked for ever.
    const int64_t passed = cursor_.sources[source].documents - before.sources[source].documents;
    if (batch.token.empty() && passed > 2 * Takes(source)) {
      return Err(ErrorCode::kInvalidArgument,
                 "source {}: no document has two tokens; there is nothing to learn",
                 sources_[source].name);
    }
  }
  return batch;
}

Result<TrainBatch> Mixture::InOrder(size_t source, int64_t first, int64_t count,
                                    int64_t& taken) const {
  TrainBatch batch;
  taken = 0;
  int64_t rows = 0;
  while (taken < count) {
    int64_t more = 0;
    for (int64_t i = 0; i < PerTake(); ++i) more += RowsOf(sources_[source], first + taken + i);
    if (rows + more > options_.batch_tokens) break;
    for (int64_t i = 0; i < PerTake(); ++i)
      OCTET_TRY(AppendWhole(source, first + taken + i, batch));
    rows += more;
    taken += PerTake();
  }
  return batch;
}

}  // namespace octet
