#include "octet/merge.h"

#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "api/guard.h"
#include "base/file.h"
#include "model/lora.h"
#include "model/parameters.h"
#include "ptq/model_metadata.h"
#include "text/tokenizer.h"
#include "train/float_file.h"
#include "train/initial.h"

namespace octet {
namespace {

namespace fs = std::filesystem;

/// W += scale · B A, in double.
void Fold(const Adapters& adapters, const Adapters::Entry& entry, std::span<float> weight) {
  const int64_t rank = entry.rank;
  const std::span<const float> a = adapters.A(entry), b = adapters.B(entry);
  std::vector<double> row(static_cast<size_t>(entry.cols));
  for (int64_t r = 0; r < entry.rows; ++r) {
    std::fill(row.begin(), row.end(), 0.0);
    for (int64_t i = 0; i < rank; ++i) {
      const double factor = static_cast<double>(entry.scale) * b[static_cast<size_t>(r * rank + i)];
      for (size_t c = 0; c < row.size(); ++c)
        row[c] += factor * a[static_cast<size_t>(i * entry.cols) + c];
    }
    for (size_t c = 0; c < row.size(); ++c) {
      float& w = weight[static_cast<size_t>(r * entry.cols) + c];
      w = static_cast<float>(w + row[c]);
    }
  }
}

Status WriteCompanions(const fs::path& folder, const ModelConfig& config, const fs::path& model) {
  const auto tokenizer = LoadTokenizer(model);
  const Vocabulary* vocabulary = tokenizer ? &(*tokenizer)->vocabulary() : nullptr;
  OCTET_TRY(WriteFileAtomically(folder / "config.json",
                                HfConfigOf(config, vocabulary, "float32").dump(2) + "\n"));
  if (vocabulary == nullptr) return {};  // a model without one merges all the same
  OCTET_TRY(WriteFileAtomically(folder / "tokenizer.model", SentencePieceModel(*vocabulary)));
  return WriteFileAtomically(folder / "tokenizer_config.json",
                             HfTokenizerConfigOf(*vocabulary).dump(2) + "\n");
}

Status Merge(const fs::path& path, const fs::path& adapter, const fs::path& destination,
             const MergeOptions& options) {
  std::error_code error;
  if (fs::exists(destination, error) && !options.force) {
    return Err(ErrorCode::kInvalidArgument, "{} is there already; --force replaces it",
               destination.string());
  }
  OCTET_ASSIGN(Checkpoint checkpoint, OpenCheckpoint(path));
  OCTET_ASSIGN(const std::unique_ptr<Model> model, Model::Load(std::move(checkpoint)));
  ModelConfig config = model->config();
  OCTET_ASSIGN(Adapters adapters, Adapters::Load(adapter, config));
  adapters.Scale(options.scale);
  OCTET_ASSIGN(Parameters weights, DecodeWeights(*model));
  for (const Adapters::Entry& entry : adapters.entries()) {
    for (const Parameters::Tensor& tensor : weights.tensors()) {
      if (tensor.name == entry.name + ".weight") Fold(adapters, entry, weights.Of(tensor));
    }
  }
  ToHalvesPairing(config, weights);
  std::vector<NamedFloats> named;
  for (const Parameters::Tensor& tensor : weights.tensors())
    named.push_back({tensor.name, tensor.spec.shape, weights.Of(tensor)});
  const fs::path staged = AtomicFileWriter::PartialPath(destination);
  fs::remove_all(staged, error);
  OCTET_TRY(WriteFloats(staged, named));
  OCTET_TRY(WriteCompanions(staged, config, path));
  fs::remove_all(destination, error);
  fs::rename(staged, destination, error);
  if (error) return Err(ErrorCode::kIo, "{}: {}", destination.string(), error.message());
  return {};
}

}  // namespace

Status MergeAdapter(const fs::path& model, const fs::path& adapter, const fs::path& destination,
                    const MergeOptions& options) {
  return Guarded([&] { return Merge(model, adapter, destination, options); });
}

}  // namespace octet
