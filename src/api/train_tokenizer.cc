#include "octet/train_tokenizer.h"

#include "api/guard.h"
#include "base/file.h"
#include "cpu/thread_pool.h"
#include "text/tokenizer.h"
#include "text/vocabulary_training.h"

namespace octet {

Status TrainTokenizer(const TrainTokenizerOptions& options, const std::filesystem::path& output) {
  return Guarded([&]() -> Status {
    OCTET_ASSIGN(
        const std::string model,
        TrainSentencePiece(options, options.threads > 0 ? options.threads : UsableCores()));
    // What was made must be what the rest of the program reads.
    OCTET_ASSIGN(const auto tokenizer, TokenizerFromSentencePiece(model, output.string()));
    return WriteFileAtomically(output, model);
  });
}

}  // namespace octet
