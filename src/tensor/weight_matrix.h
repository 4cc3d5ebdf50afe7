// A matrix of weights in any storage format, wherever it lies: a mapped file, a Buffer. Never owns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "quant/format.h"
#include "quant/layout.h"
#include "quant/panel16.h"

namespace octet {

/// A low-rank addition to a matrix (Hu et al. 2021): y += scale · B A x. Never owns. Without values
/// it adds nothing.
struct AdapterMatrix {
  const float* a = nullptr;  // [rank, cols]
  const float* b = nullptr;  // [rows, rank]
  int64_t rank = 0;
  float scale = 1;
};

/// The matrix as operands of bf16 tile products (kernels/kernel.h, PackTilesArgs): pairs, by rows
/// and turned. Never owns.
struct WeightTiles {
  const uint16_t* by_rows = nullptr;  // outputs are the rows
  const uint16_t* by_cols = nullptr;  // outputs are the columns
};

/// Used as y[T, rows] = x[T, cols] · Wᵀ: a row holds one output's weights.
struct WeightMatrix {
  std::string_view name;  // for messages; owned by the model
  Format format = Format::kF32;
  Layout layout = Layout::kRowMajor;
  int64_t rows = 0;
  int64_t cols = 0;
  const std::byte* data = nullptr;
  const AdapterMatrix* adapter = nullptr;  // for every row; null: none
  /// Further ones, of which a row may have one, numbered from 1 (LinearTask::adapter); null: none.
  const AdapterMatrix* choices = nullptr;
  const WeightTiles* tiles = nullptr;  // null: none; read by Arithmetic::kBf16 alone

  /// Of a row in the file's order.
  int64_t row_bytes() const { return FormatBytes(format, cols); }
  int64_t bytes() const {
    return layout == Layout::kPanel16 ? Panel16Bytes(format, rows, cols) : rows * row_bytes();
  }
  explicit operator bool() const { return data != nullptr; }
};

}  // namespace octet
