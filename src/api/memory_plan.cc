#include "api/memory_plan.h"

#include "api/machine_memory.h"
#include "cpu/isa.h"
#include "octet/progress.h"

namespace octet {
namespace {

/// For the program itself, scratch of a step, and what else runs on the machine.
constexpr int64_t kHeadroom = int64_t{512} << 20;

int64_t Memory() { return static_cast<int64_t>(MachineMemory()); }

}  // namespace

Status CheckKvMemory(const Model& model, int64_t kv_bytes) {
  const int64_t owned = model.copied_bytes();
  if (kv_bytes + owned + kHeadroom <= Memory()) return {};
  return Err(ErrorCode::kOutOfMemory,
             "keys and values of this context take {} beside {} of the model, the machine has {}; "
             "use a smaller --ctx "
             "or --kv-type q8_0",
             HumanBytes(static_cast<uint64_t>(kv_bytes)), HumanBytes(static_cast<uint64_t>(owned)),
             HumanBytes(static_cast<uint64_t>(Memory())));
}

bool PackingFits(const Model& model, const KernelTable& kernels, int64_t kv_bytes) {
  const int64_t packed = model.PackedBytes(kernels);
  return packed > 0 && packed + kv_bytes + model.copied_bytes() + kHeadroom <= Memory();
}

Status PackWeights(const LoadOptions& options, const EngineOptions& engine, int64_t kv_bytes,
                   Model& model) {
  if (!options.pack || engine.arithmetic != Arithmetic::kFast) return {};
  OCTET_ASSIGN(const uint32_t isa, SelectIsaFromEnvironment());
  const KernelTable kernels = SelectKernels(isa);
  if (!PackingFits(model, kernels, kv_bytes)) return {};
  ThreadPool pool(engine.threads);
  return model.Pack(kernels, pool, options.on_pack);
}

}  // namespace octet
