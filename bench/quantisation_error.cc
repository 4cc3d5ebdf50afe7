// Prints, as a Markdown table, what each block format loses and how long its codecs take:
//   quantisation_error            on standard normal values
//   quantisation_error CHECKPOINT on a model's matrices, each read as one run of values, whose
//   length
//                                 must be a multiple of 256
// Error: Σ (value − decoded)² / Σ value², of the searching encoder and, where there is another, of
// the plain one. Times are CPU time of one thread.
#include <fmt/core.h>

#include <ctime>
#include <vector>

#include "base/rng.h"
#include "io/checkpoint.h"
#include "quant/format.h"

namespace octet {
namespace {

constexpr int64_t kSynthetic = 1 << 20;
constexpr int64_t kMost = 1 << 24;  // values of a model that are enough

Result<std::vector<float>> ModelValues(const char* path) {
  auto checkpoint = OpenCheckpoint(path);
  if (!checkpoint) return tl::unexpected(checkpoint.error());
  std::vector<float> values;
  for (const TensorInfo& info : checkpoint->tensors->tensors()) {
    if (info.shape.size() < 2 || info.values() % 256 != 0) continue;
    if (static_cast<int64_t>(values.size()) + info.values() > kMost) break;
    const auto bytes = checkpoint->tensors->Data(info);
    if (!bytes) return tl::unexpected(bytes.error());
    const size_t begin = values.size();
    values.resize(begin + static_cast<size_t>(info.values()));
    Info(info.format).decode(bytes->data(), info.values(), values.data() + begin);
  }
  if (values.empty())
    return Err(ErrorCode::kInvalidArgument, "{}: no matrix of 256·n values", path);
  return values;
}

std::vector<float> NormalValues() {
  std::vector<float> values(kSynthetic);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(RandomNormal(1, 0, i));
  return values;
}

struct Measured {
  double error;      // relative squared
  double encode_ns;  // a value
  double decode_ns;
};

template <class Encode>
Measured Measure(Format format, const std::vector<float>& values, Encode encode) {
  const auto n = static_cast<int64_t>(values.size());
  std::vector<std::byte> blocks(static_cast<size_t>(FormatBytes(format, n)));
  std::vector<float> decoded(values.size());
  const std::clock_t start = std::clock();
  encode(values.data(), n, blocks.data());
  const std::clock_t encoded = std::clock();
  Info(format).decode(blocks.data(), n, decoded.data());
  const std::clock_t end = std::clock();
  double lost = 0.0, energy = 0.0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double difference = static_cast<double>(values[i]) - decoded[i];
    lost += difference * difference;
    energy += static_cast<double>(values[i]) * values[i];
  }
  const double ns = 1e9 / CLOCKS_PER_SEC / static_cast<double>(n);
  return {lost / energy, static_cast<double>(encoded - start) * ns,
          static_cast<double>(end - encoded) * ns};
}

void PrintTable(const std::vector<float>& values) {
  fmt::print(
      "{} values\n\n| format | bits a value | error, searched | error, plain | encode ns | "
      "plain ns | decode ns |\n|---|---|---|---|---|---|---|\n",
      values.size());
  for (int f = 0; f < kFormatCount; ++f) {
    const FormatInfo& info = Info(static_cast<Format>(f));
    const Measured searched =
        Measure(info.format, values, [&](const float* x, int64_t n, std::byte* blocks) {
          info.encode_weighted(x, nullptr, n, blocks);
        });
    const Measured plain = Measure(info.format, values, info.encode);
    fmt::print("| {} | {:.4g} | {:.3e} | {:.3e} | {:.1f} | {:.1f} | {:.2f} |\n", info.name,
               8.0 * info.block_bytes / info.block_values, searched.error, plain.error,
               searched.encode_ns, plain.encode_ns, searched.decode_ns);
  }
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    PrintTable(NormalValues());
    return 0;
  }
  const auto values = ModelValues(argv[1]);
  if (!values) {
    fmt::print(stderr, "{}\n", values.error().message);
    return 1;
  }
  PrintTable(*values);
  return 0;
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) { return octet::Main(argc, argv); }
