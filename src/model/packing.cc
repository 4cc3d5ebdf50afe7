#include "model/packing.h"

#include <algorithm>

#include "cpu/isa.h"

namespace octet {
namespace {

int64_t MatrixBytes(const TensorSpec& spec, Format format, Layout layout) {
  WeightMatrix matrix;
  matrix.format = format;
  matrix.layout = layout;
  matrix.rows = spec.shape[0];
  matrix.cols = spec.shape[1];
  return matrix.bytes();
}

std::string MadeFor(const Checkpoint& checkpoint) {
  const std::string* isa = checkpoint.gguf ? checkpoint.gguf->String(kPackedIsaKey) : nullptr;
  return isa != nullptr ? *isa : "an unnamed instruction set";
}

}  // namespace

std::string IsaFamilyName(uint32_t isa) {
#if defined(__x86_64__)
  return "x86_64: " + IsaNames(isa);
#elif defined(__aarch64__)
  return "aarch64: " + IsaNames(isa);
#else
  return IsaNames(isa);
#endif
}

Layout LayoutFor(TensorRole role, Format format, Layout stored, const KernelTable& kernels) {
  // The embedding is looked up by rows, and routers multiply in float32.
  if (role == TensorRole::kEmbedding || role == TensorRole::kRouter) return stored;
  if (stored != Layout::kRowMajor) return stored;
  return BestLayout(kernels, format);
}

bool IsPacked(const Checkpoint& checkpoint) {
  const auto& tensors = checkpoint.tensors->tensors();
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const TensorInfo& info) { return info.layout != Layout::kRowMajor; });
}

LoadBytes PlanLoad(const Checkpoint& checkpoint, const ModelConfig& config,
                   const KernelTable& kernels) {
  LoadBytes bytes;
  const auto naming = RecogniseNaming(checkpoint, config);
  if (!naming) return bytes;
  for (const TensorSpec& spec : TensorSpecs(config)) {
    const TensorPlace place = PlaceOf(spec, config, *naming);
    const TensorInfo* info = checkpoint.tensors->Find(place.name);
    if (info == nullptr) continue;
    if (spec.shape.size() == 1) {
      const int64_t norm = spec.shape[0] * static_cast<int64_t>(sizeof(float));
      bytes.mapped += norm;
      bytes.packed += norm;
      continue;
    }
    const Layout layout = LayoutFor(spec.role, info->format, info->layout, kernels);
    const bool retiled = layout != info->layout;
    const int64_t own = MatrixBytes(spec, info->format, layout);
    if (place.transposed) bytes.mapped += MatrixBytes(spec, info->format, Layout::kRowMajor);
    if (place.transposed || retiled) bytes.packed += own;
    bytes.retiles = bytes.retiles || retiled;
    if (spec.role != TensorRole::kEmbedding || !config.tied_embeddings) continue;
    const Layout head = LayoutFor(TensorRole::kHead, info->format, info->layout, kernels);
    if (head != info->layout) bytes.packed += MatrixBytes(spec, info->format, head);
  }
  return bytes;
}

Status CheckLayouts(const Checkpoint& checkpoint, const KernelTable* kernels,
                    Arithmetic arithmetic) {
  const std::string where = checkpoint.path.string();
  for (const TensorInfo& info : checkpoint.tensors->tensors()) {
    if (info.layout == Layout::kRowMajor) continue;
    if (kernels != nullptr && kernels->Matmul(info.format, info.layout, arithmetic, 1) != nullptr)
      continue;
    if (kernels != nullptr &&
        kernels->Matmul(info.format, info.layout, Arithmetic::kFast, 1) != nullptr) {
      return Err(ErrorCode::kUnsupported,
                 "{}: its weights are packed for fast arithmetic, which float32 cannot read; use "
                 "--arithmetic fast, or the model it was packed from",
                 where);
    }
    return Err(ErrorCode::kUnsupported,
               "{}: its {} weights are packed as {} for {}, and no kernel in use here ({}) "
               "reads that; use the model it was packed from, or pack that again on this machine",
               where, Info(info.format).name, LayoutName(info.layout), MadeFor(checkpoint),
               kernels != nullptr ? IsaFamilyName(kernels->isa) : "reference");
  }
  return {};
}

}  // namespace octet
