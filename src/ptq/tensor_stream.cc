#include "ptq/tensor_stream.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace octet {
namespace {

// Values of one piece: 16 MiB as float, enough that threads and writes are well fed.
constexpr int64_t kPieceValues = 4 << 20;
// Bytes handed on at once when nothing has to be done to them: often enough to see a stop.
constexpr size_t kCopyBytes = 16 << 20;
// Values a thread takes at a time.
constexpr int64_t kTaskValues = 1 << 16;

/// The row of the source that becomes row `r`. Heads are blocks of `head_dim` rows; a pair (2i,
/// 2i+1) of interleaved rows is (i, i + head_dim/2) in halves.
int64_t SourceRow(RowOrder order, int64_t head_dim, int64_t r) {
  const int64_t head = r / head_dim * head_dim, d = r % head_dim, half = head_dim / 2;
  switch (order) {
    case RowOrder::kSame:
      return r;
    case RowOrder::kHalvesToInterleaved:
      return head + d / 2 + d % 2 * half;
    case RowOrder::kInterleavedToHalves:
      return head + 2 * (d % half) + d / half;
  }
  return r;
}

/// The largest magnitude that stays finite when rounded to the format.
float LargestFinite(Format format) {
  switch (format) {
    case Format::kF32:
      return std::numeric_limits<float>::max();
    case Format::kF16:
      return std::bit_cast<float>(0x477fefffu);  // just below 65520, which rounds up to infinity
    case Format::kBf16:
      return std::bit_cast<float>(0x7f7f7fffu);  // likewise
    default:
      return 65504.0f;  // a block's scale is an F16
  }
}

bool Holds(Format format, std::span<const float> values) {
  const float largest = LargestFinite(format);
  const bool has_infinity = Info(format).block_values == 1;
  return std::all_of(values.begin(), values.end(), [&](float v) {
    return std::isfinite(v) ? std::fabs(v) <= largest : has_infinity;
  });
}

}  // namespace

Status TensorStreamer::Stream(const PlannedTensor& tensor, Sink sink) {
  for (size_t i = 0; i < tensor.slices.size(); ++i) {
    OCTET_TRY(FindColumnWeights(tensor, i));
    OCTET_TRY(StreamSlice(tensor, tensor.slices[i], sink));
  }
  return {};
}

Status TensorStreamer::FindColumnWeights(const PlannedTensor& tensor, size_t slice) {
  column_weights_.clear();
  if (importance_ == nullptr || tensor.info.shape.size() < 2) return {};
  OCTET_ASSIGN(const ImportanceEntry entry,
               EntryFor(*importance_, tensor.info.name, static_cast<int64_t>(tensor.slices.size()),
                        tensor.slices[slice].cols));
  if (entry.matrices > 0) column_weights_ = ImportanceOf(entry, static_cast<int64_t>(slice));
  return {};
}

Status TensorStreamer::StreamSlice(const PlannedTensor& tensor, const SourceSlice& slice,
                                   Sink sink) {
  const TensorInfo& info = *slice.info;
  OCTET_ASSIGN(std::span<const std::byte> data, source_.Data(info));
  const auto first_byte = static_cast<uint64_t>(
      FormatBytes(info.format, slice.first_row * (slice.transposed ? slice.rows : slice.cols)));
  const auto bytes = static_cast<uint64_t>(FormatBytes(info.format, slice.rows * slice.cols));
  CHECK(first_byte + bytes <= data.size());
  data = data.subspan(first_byte, bytes);

  const bool in_order = tensor.row_order == RowOrder::kSame && !slice.transposed;
  if (in_order && info.format == tensor.info.format) {
    for (size_t done = 0; done < data.size(); done += kCopyBytes) {
      OCTET_TRY(sink(data.subspan(done, std::min(kCopyBytes, data.size() - done))));
    }
  } else {
    const int64_t step = std::max<int64_t>(1, kPieceValues / slice.cols);
    for (int64_t begin = 0; begin < slice.rows; begin += step) {
      const int64_t end = std::min(slice.rows, begin + step);
      auto piece = Gather(tensor, slice, data, begin, end);
      if (info.format != tensor.info.format) {
        OCTET_ASSIGN(
            piece, Recode(piece, info.format, tensor.info, (end - begin) * slice.cols, slice.cols));
      }
      OCTET_TRY(sink(piece));
    }
  }
  source_.Release(info);
  return {};
}

std::span<const std::byte> TensorStreamer::Gather(const PlannedTensor& tensor,
                                                  const SourceSlice& slice,
                                                  std::span<const std::byte> data, int64_t begin,
                                                  int64_t end) {
  const Format format = slice.info->format;
  const auto row_bytes = static_cast<size_t>(FormatBytes(format, slice.cols));
  if (!slice.transposed && tensor.row_order == RowOrder::kSame) {
    return data.subspan(begin * row_bytes, (end - begin) * row_bytes);
  }
  gathered_.resize((end - begin) * row_bytes);
  if (!slice.transposed) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t from = SourceRow(tensor.row_order, tensor.head_dim, r);
      std::memcpy(gathered_.data() + (r - begin) * row_bytes, data.data() + from * row_bytes,
                  row_bytes);
    }
    return gathered_;
  }
  CHECK(tensor.row_order == RowOrder::kSame);
  const auto size = static_cast<size_t>(octet::Info(format).block_bytes);
  // Tasks are bands of stored rows, so that each is read once and in order.
  constexpr int64_t kBand = 256;
  pool_.ParallelFor((slice.cols + kBand - 1) / kBand, [&](int64_t band, int) {
    for (int64_t c = band * kBand; c < std::min(slice.cols, (band + 1) * kBand); ++c) {
      const std::byte* from = data.data() + (c * slice.rows + begin) * size;
      std::byte* to = gathered_.data() + c * size;
      for (int64_t r = begin; r < end; ++r, from += size, to += row_bytes) {
        std::memcpy(to, from, size);
      }
    }
  });
  return gathered_;
}

Result<std::span<const std::byte>> TensorStreamer::Recode(std::span<const std::byte> rows,
                                                          Format from, const TensorInfo& to,
                                                          int64_t values, int64_t cols) {
  const FormatInfo& source = octet::Info(from);
  const FormatInfo& target = octet::Info(to.format);
  values_.resize(values);
  encoded_.resize(FormatBytes(to.format, values));
  const int64_t from_bytes = FormatBytes(from, cols), to_bytes = FormatBytes(to.format, cols);
  const int64_t n_rows = values / cols, band = std::max<int64_t>(1, kTaskValues / cols);
  std::atomic<bool> holds = true;
  pool_.ParallelFor((n_rows + band - 1) / band, [&](int64_t task, int) {
    const int64_t begin = task * band, n = std::min(band, n_rows - begin) * cols;
    float* decoded = values_.data() + begin * cols;
    source.decode(rows.data() + begin * from_bytes, n, decoded);
    if (!Holds(to.format, {decoded, static_cast<size_t>(n)})) holds = false;
    std::byte* encoded = encoded_.data() + begin * to_bytes;
    if (encoding_ == Encoding::kPlain) {
      target.encode(decoded, n, encoded);
    } else if (!column_weights_.empty()) {
      for (int64_t at = 0; at < n; at += cols, encoded += to_bytes) {
        target.encode_weighted(decoded + at, column_weights_.data(), cols, encoded);
      }
    } else {
      target.encode_weighted(decoded, nullptr, n, encoded);
    }
  });
  if (!holds) {
    return Err(ErrorCode::kUnsupported,
               "{}: has values that {} cannot hold (too large, or not finite); choose bf16 or f32",
               to.name, target.name);
  }
  return std::span<const std::byte>(encoded_);
}

}  // namespace octet
