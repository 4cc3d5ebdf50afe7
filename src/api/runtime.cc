#include "api/runtime.h"

#include <utility>

#include "cpu/isa.h"
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

Status Runtime::Start(Checkpoint checkpoint, int threads) {
  OCTET_ASSIGN(const uint32_t isa, SelectIsaFromEnvironment());
  OCTET_ASSIGN(model, Model::Load(std::move(checkpoint)));
  pool = std::make_unique<ThreadPool>(threads);
  kernels = SelectKernels(isa);
  return {};
}

Result<std::unique_ptr<Runtime>> Runtime::Load(const std::filesystem::path& path, int threads) {
  OCTET_ASSIGN(Checkpoint checkpoint, Open(path));
  auto runtime = std::make_unique<Runtime>();
  OCTET_TRY(runtime->Start(std::move(checkpoint), threads));
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
