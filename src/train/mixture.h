// An endless stream of batches from weighted sources, at a place that can be saved.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "train/documents.h"
#include "train/token_file.h"
#include "train/train_batch.h"

namespace octet {

struct Source {
  std::string name;
  double weight = 1;  // its share of tokens, relative to the others'; 0: nothing is learned of it
  DocumentKind kind = DocumentKind::kText;
  TokenFile tokens;
  int64_t documents = 0;  // those the stream takes; the file's last ones may be held out
};

struct MixtureOptions {
  uint64_t seed = 1;
  int64_t vocab_size = 0;
  int64_t context = 0;       // tokens of a sequence
  int64_t batch_tokens = 0;  // rows of a batch, at most
};

/// Where the stream is. Everything else follows from the seed.
struct Cursor {
  struct Place {
    int64_t documents = 0;  // taken, over all epochs; pairs for preferences
    int64_t offset = 0;     // into the next one, of a text that did not fit
    int64_t tokens = 0;     // taken
    friend bool operator==(const Place&, const Place&) = default;
  };
  std::vector<Place> sources;
  friend bool operator==(const Cursor&, const Cursor&) = default;
};

class Mixture {
 public:
  /// Sources with weight 0 are held out whole and stand last. kInvalidArgument: no documents,
  /// sources of different kinds, a batch shorter than the context.
  static Result<Mixture> Create(std::vector<Source> sources, const MixtureOptions& options);

  /// Text: filled to the last row, documents longer than the context or the batch going on as new
  /// sequences (each token is predicted once an epoch). Chats and pairs: whole, cut to the context,
  /// as many as fit. Each source is shuffled anew every epoch.
  Result<TrainBatch> Next();

  /// The documents [first, first + count) of one source, in order, as one batch of at most
  /// batch_tokens rows; `taken` says how many fitted. For held-out losses.
  Result<TrainBatch> InOrder(size_t source, int64_t first, int64_t count, int64_t& taken) const;

  DocumentKind kind() const { return sources_.front().kind; }
  int64_t context() const { return options_.context; }
  const std::vector<Source>& sources() const { return sources_; }
  const Cursor& cursor() const { return cursor_; }
  /// kInvalidArgument for another number of sources or a place that is not there.
  Status Restore(Cursor cursor);
  double Epochs(size_t source) const;

 private:
  Mixture() = default;
  /// Documents the source gives at once: two for pairs.
  int64_t PerTake() const { return kind() == DocumentKind::kPreferences ? 2 : 1; }
  int64_t Takes(size_t source) const { return sources_[source].documents / PerTake(); }
  size_t NextSource() const;
  int64_t NextDocument(size_t source) const;
  Result<bool> TakeText(size_t source, TrainBatch& batch);
  Result<bool> TakeWhole(size_t source, TrainBatch& batch);
  Status AppendWhole(size_t source, int64_t document, TrainBatch& batch) const;
  int64_t RowsOf(const Source& source, int64_t document) const;

  std::vector<Source> sources_;
  MixtureOptions options_;
  Cursor cursor_;  // a place for every source that is learned
};

}  // namespace octet
