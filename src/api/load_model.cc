#include "api/load_model.h"

#include <optional>
#include <utility>

#include "api/machine_memory.h"
#include "cpu/isa.h"
#include "model/packing.h"
#include "octet/progress.h"

namespace octet {
namespace {

/// For the program itself, scratch of a step, and what else runs on the machine.
constexpr int64_t kHeadroom = int64_t{512} << 20;

int64_t Memory() { return static_cast<int64_t>(MachineMemory()); }

Status CheckKvMemory(const LoadBytes& bytes, int64_t kv_bytes) {
  if (kv_bytes + bytes.mapped + kHeadroom <= Memory()) return {};
  return Err(ErrorCode::kOutOfMemory,
             "keys and values of this context take {} beside {} of the model, the machine has {}; "
             "use a smaller --ctx or --kv-type q8_0",
             HumanBytes(static_cast<uint64_t>(kv_bytes)),
             HumanBytes(static_cast<uint64_t>(bytes.mapped)),
             HumanBytes(static_cast<uint64_t>(Memory())));
}

}  // namespace

Result<std::unique_ptr<Model>> LoadModel(Checkpoint checkpoint, const ModelConfig& config,
                                         const ModelRequest& request) {
  const LoadBytes bytes = PlanLoad(checkpoint, config, request.kernels);
  OCTET_TRY(CheckKvMemory(bytes, request.kv_bytes));
  LoadTarget target{&request.kernels, request.arithmetic};
  target.config = &config;
  const bool fits = bytes.packed + request.kv_bytes + kHeadroom <= Memory();
  std::optional<ThreadPool> pool;
  if (request.retile && request.arithmetic == Arithmetic::kFast && bytes.retiles && fits) {
    target.retile = &pool.emplace(request.threads);
    target.on_retile = request.on_retile;
  }
  return Model::Load(std::move(checkpoint), target);
}

Result<std::unique_ptr<Model>> LoadWeights(Checkpoint checkpoint, const ModelConfig& config,
                                           const EngineRequest& request) {
  OCTET_ASSIGN(const uint32_t isa, SelectIsaFromEnvironment());
  const KernelTable kernels = SelectKernels(isa);
  ModelRequest model{kernels, request.engine.arithmetic, request.engine.threads};
  model.kv_bytes = request.kv_bytes;
  model.retile = request.options.pack;
  model.on_retile = request.options.on_pack;
  return LoadModel(std::move(checkpoint), config, model);
}

}  // namespace octet
