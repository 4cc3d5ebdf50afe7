// Which weights a model re-tiles while it loads, and what that takes.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "model/config.h"
#include "model/tensor_specs.h"
#include "ops/pack.h"

namespace octet {

/// Bytes of its own that a loaded model has beside the mapped files.
struct LoadBytes {
  int64_t mapped = 0;    // without re-tiling: norms, and matrices that have to be transposed
  int64_t packed = 0;    // with it: those and the re-tiled matrices
  bool retiles = false;  // whether any matrix would be
};
/// From the headers alone. Tensors that are missing count nothing: Model::Load names them.
LoadBytes PlanLoad(const Checkpoint& checkpoint, const ModelConfig& config,
                   const KernelTable& kernels);

/// The layout a matrix of that role gets for `kernels`, stored as it is: its own where the file is
/// packed; the order of rows for the embedding, which is looked up by rows.
Layout LayoutFor(TensorRole role, Format format, Layout stored, const KernelTable& kernels);

/// Whether any tensor is in another order than that of rows.
bool IsPacked(const Checkpoint& checkpoint);

/// kUnsupported, with what to do, when a file's matrices are packed in a layout that no kernel of
/// this choice reads. `kernels` may be null: only the order of rows is read then.
Status CheckLayouts(const Checkpoint& checkpoint, const KernelTable* kernels,
                    Arithmetic arithmetic);

/// "x86_64: avx2 avx512": the family and the bits, as packed files and messages name them.
std::string IsaFamilyName(uint32_t isa);

/// Keys of a packed file's metadata (docs/formats/packed.md).
inline constexpr char kPackedArchitecture[] = "octet-packed";  // general.architecture
inline constexpr char kPackedArchitectureKey[] = "octet.packed.architecture";
inline constexpr char kPackedIsaKey[] = "octet.packed.isa";
inline constexpr char kPackedVersionKey[] = "octet.packed.version";
inline constexpr uint64_t kPackedVersion = 1;

}  // namespace octet
