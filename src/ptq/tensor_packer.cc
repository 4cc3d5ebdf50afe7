#include "ptq/tensor_packer.h"

#include <cstring>

#include "base/check.h"
#include "model/packing.h"

namespace octet {
namespace {

WeightMatrix MatrixOf(const TensorInfo& info, Layout layout) {
  WeightMatrix matrix;
  matrix.name = info.name;
  matrix.format = info.format;
  matrix.layout = layout;
  matrix.rows = info.shape[0];
  matrix.cols = info.shape[1];
  return matrix;
}

Status Grow(Buffer& buffer, int64_t bytes, std::string_view what) {
  const auto size = static_cast<size_t>(bytes);
  if (buffer.size() >= size) return {};
  buffer = Buffer();  // never two at once
  OCTET_ASSIGN(buffer, Buffer::Allocate(size, what));
  return {};
}

}  // namespace

void PlanLayout(TensorRole role, const KernelTable& kernels, TensorInfo& info) {
  if (info.shape.size() != 2) return;
  info.layout = LayoutFor(role, info.format, Layout::kRowMajor, kernels);
  info.bytes = static_cast<uint64_t>(MatrixOf(info, info.layout).bytes());
}

Status TensorPacker::Begin(const TensorInfo& info) {
  matrix_ = MatrixOf(info, Layout::kRowMajor);
  layout_ = info.layout;
  added_ = 0;
  OCTET_TRY(Grow(rows_, matrix_.bytes(), info.name));
  return Grow(packed_, static_cast<int64_t>(info.bytes), info.name);
}

void TensorPacker::Add(std::span<const std::byte> rows) {
  CHECK(added_ + static_cast<int64_t>(rows.size()) <= matrix_.bytes());
  std::memcpy(rows_.data() + added_, rows.data(), rows.size());
  added_ += static_cast<int64_t>(rows.size());
}

std::span<const std::byte> TensorPacker::Finish() {
  CHECK(added_ == matrix_.bytes());
  matrix_.data = rows_.data();
  const WeightMatrix packed = Pack({matrix_, layout_}, packed_.data(), pool_);
  return {packed.data, static_cast<size_t>(packed.bytes())};
}

}  // namespace octet
