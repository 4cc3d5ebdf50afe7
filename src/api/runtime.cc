#include "api/runtime.h"

#include <utility>

#include "api/load_model.h"
#include "cpu/isa.h"
#include "model/packing.h"
#include "octet/default_model.h"
#include "text/gguf_vocabulary.h"

namespace octet {

Result<Arithmetic> ArithmeticFromName(std::string_view name) {
  if (name == "float32") return Arithmetic::kFloat32;
  if (name == "fast") return Arithmetic::kFast;
  return Err(ErrorCode::kInvalidArgument, "arithmetic \"{}\": expected fast or float32", name);
}

Result<Checkpoint> Runtime::Open(const std::filesystem::path& path) {
  return path.empty() ? OpenCheckpointFromBytes(DefaultModelBytes(), DefaultModelName())
                      : OpenCheckpoint(path);
}

Status Runtime::Start(Checkpoint checkpoint, const RuntimeOptions& options) {
  if (!options.arithmetic.empty()) {
    OCTET_ASSIGN(arithmetic, ArithmeticFromName(options.arithmetic));
  } else if (IsPacked(checkpoint)) {
    arithmetic = Arithmetic::kFast;
  }
  OCTET_ASSIGN(const uint32_t isa, SelectIsaFromEnvironment());
  kernels = SelectKernels(isa);
  pool = std::make_unique<ThreadPool>(options.threads);
  OCTET_ASSIGN(const ModelConfig config, ReadModelConfig(checkpoint));
  ModelRequest request{kernels, arithmetic, options.threads};
  request.retile = options.retile;
  OCTET_ASSIGN(model, LoadModel(std::move(checkpoint), config, request));
  return {};
}

Result<std::unique_ptr<Runtime>> Runtime::Load(const std::filesystem::path& path,
                                               const RuntimeOptions& options) {
  OCTET_ASSIGN(Checkpoint checkpoint, Open(path));
  auto runtime = std::make_unique<Runtime>();
  OCTET_TRY(runtime->Start(std::move(checkpoint), options));
  return runtime;
}

Result<std::unique_ptr<Tokenizer>> Runtime::LoadTokenizer() const {
  const Checkpoint& checkpoint = model->checkpoint();
  const std::string where = checkpoint.path.string();
  // A model in memory has no file to look beside: its vocabulary is in its metadata.
  if (checkpoint.gguf != nullptr) {
    OCTET_ASSIGN(Vocabulary vocabulary, VocabularyFromGguf(*checkpoint.gguf, where));
    return TokenizerFromVocabulary(std::move(vocabulary), where);
  }
  return octet::LoadTokenizer(checkpoint.path);
}

}  // namespace octet
