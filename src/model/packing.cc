// Model::Pack: from the file's order to the kernels', tensor by tensor.
#include <utility>

#include "model/weights.h"

namespace octet {
namespace {

/// Calls fn on every matrix the forward pass multiplies with, experts of one role after another, as
/// merged files store them. The embedding is looked up by rows and stays as it is.
template <class Layers, class Head, class Fn>
Status ForEachMatrix(Layers& layers, Head& head, const Fn& fn) {
  for (auto& layer : layers) {
    for (auto* matrix : {&layer.wq, &layer.wk, &layer.wv, &layer.wo, &layer.router})
      OCTET_TRY(fn(*matrix));
    for (auto& expert : layer.experts) OCTET_TRY(fn(expert.w1));
    for (auto& expert : layer.experts) OCTET_TRY(fn(expert.w2));
    for (auto& expert : layer.experts) OCTET_TRY(fn(expert.w3));
  }
  return fn(head);
}

bool NeedsPacking(const KernelTable& kernels, const WeightMatrix& matrix) {
  return matrix && matrix.layout != BestLayout(kernels, matrix.format);
}

int64_t BytesOf(const KernelTable& kernels, const WeightMatrix& matrix) {
  return PackedBytes(Packing{matrix, BestLayout(kernels, matrix.format)});
}

/// The file tensor a matrix is a part of: experts of a merged tensor are named "tensor[3]".
std::string_view FileTensorName(std::string_view matrix_name) {
  return matrix_name.substr(0, matrix_name.find('['));
}

}  // namespace

int64_t Model::PackedBytes(const KernelTable& kernels) const {
  int64_t bytes = 0;
  (void)ForEachMatrix(weights_.layers, weights_.head, [&](const WeightMatrix& matrix) -> Status {
    if (NeedsPacking(kernels, matrix)) bytes += BytesOf(kernels, matrix);
    return {};
  });
  return bytes;
}

Status Model::Pack(const KernelTable& kernels, ThreadPool& pool, const PackProgress& on_progress) {
  const int64_t total = PackedBytes(kernels);
  int64_t done = 0;
  std::string_view last_tensor;
  // Released when the next tensor begins: the experts of a merged one come one after another.
  const auto release_last = [&] {
    const TensorInfo* info = last_tensor.empty() ? nullptr : checkpoint_.tensors->Find(last_tensor);
    if (info != nullptr) checkpoint_.tensors->Release(*info);
  };
  Status status =
      ForEachMatrix(weights_.layers, weights_.head, [&](WeightMatrix& matrix) -> Status {
        if (!NeedsPacking(kernels, matrix)) return {};
        const int64_t bytes = BytesOf(kernels, matrix);
        OCTET_ASSIGN(Buffer buffer, Buffer::Allocate(static_cast<size_t>(bytes), matrix.name));
        matrix = octet::Pack({matrix, BestLayout(kernels, matrix.format)}, buffer.data(), pool);
        copies_.push_back(std::move(buffer));
        copied_bytes_ += bytes;
        if (FileTensorName(matrix.name) != last_tensor) release_last();
        last_tensor = FileTensorName(matrix.name);
        done += bytes;
        if (on_progress) on_progress(done, total);
        return {};
      });
  release_last();
  return status;
}

}  // namespace octet
