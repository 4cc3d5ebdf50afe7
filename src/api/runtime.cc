#include "api/runtime.h"

#include <utility>

#include "cpu/isa.h"

namespace octet {

Result<std::unique_ptr<Runtime>> Runtime::Load(const std::filesystem::path& path, int threads) {
  OCTET_ASSIGN(const uint32_t isa, SelectIsaFromEnvironment());
  OCTET_ASSIGN(Checkpoint checkpoint, OpenCheckpoint(path));
  auto runtime = std::make_unique<Runtime>();
  OCTET_ASSIGN(runtime->model, Model::Load(std::move(checkpoint)));
  runtime->pool = std::make_unique<ThreadPool>(threads);
  runtime->kernels = SelectKernels(isa);
  return runtime;
}

Result<std::unique_ptr<Tokenizer>> Runtime::LoadTokenizer() const {
  return octet::LoadTokenizer(model->checkpoint().path);
}

}  // namespace octet
