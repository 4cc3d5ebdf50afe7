// Times whole training steps (forward, loss, backward, clipping, AdamW) on random tokens and prints
// a line of JSON:
//   train_step [--dim N] [--layers N] [--heads N] [--kv-heads N] [--ffn N] [--experts N] [--vocab
//   N]
//              [--batch N] [--context N] [--steps N] [--threads N] [--precision f32|bf16]
//              [--optimizer adamw|muon]
// The peaks of the machine are measured between steps: neighbours move both. Medians count. Those
// of bf16 are AMX tiles' in registers and with loads, or vdpbf16ps in registers where there are
// none.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"
#include "model/model_tiles.h"
#include "perf/limits.h"
#include "train/initial.h"
#include "train/learner.h"
#include "train/optimizer.h"
#include "train/trained_model.h"

namespace octet {
namespace {

double Seconds(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <class T>
T Must(Result<T> result) {
  if (result) return *std::move(result);
  fmt::print(stderr, "{}\n", result.error().message);
  std::exit(1);
}

struct Flags {
  std::map<std::string, std::string> values;
  int64_t Int(const std::string& name, int64_t otherwise) const {
    const auto at = values.find(name);
    return at == values.end() ? otherwise : std::atoll(at->second.c_str());
  }
};

ModelConfig ConfigOf(const Flags& flags) {
  ModelConfig c;
  c.architecture = "mixtral";
  c.n_layers = flags.Int("--layers", 8);
  c.d_model = flags.Int("--dim", 512);
  c.n_heads = flags.Int("--heads", c.d_model / 64);
  c.n_kv_heads = flags.Int("--kv-heads", std::max<int64_t>(1, c.n_heads / 4));
  c.head_dim = c.d_model / c.n_heads;
  c.d_ff = flags.Int("--ffn", 2 * c.d_model);
  c.n_experts = flags.Int("--experts", 8);
  c.n_experts_per_token = std::min<int64_t>(2, c.n_experts);
  c.vocab_size = flags.Int("--vocab", 8192);
  c.context_len = flags.Int("--context", 512);
  c.rope_pairing = RopePairing::kHalves;
  return c;
}

TrainBatch RandomBatch(const ModelConfig& c, int64_t sequences, uint64_t step) {
  TrainBatch batch;
  for (int64_t s = 0; s < sequences; ++s) {
    std::vector<int32_t> tokens(static_cast<size_t>(c.context_len));
    for (size_t i = 0; i < tokens.size(); ++i) {
      const double u = RandomUniform(step, static_cast<uint64_t>(s), i);
      tokens[i] = static_cast<int32_t>(u * static_cast<double>(c.vocab_size));
    }
    batch.Append(tokens);
  }
  return batch;
}

class Runner {
 public:
  Runner(const ModelConfig& c, int threads, bool bf16, int64_t sequences, bool muon)
      : pool_(threads),
        kernels_(SelectKernels(Must(SelectIsaFromEnvironment()))),
        context_{pool_, kernels_, arena_, bf16 ? Arithmetic::kBf16 : Arithmetic::kFloat32},
        trained_(Must(TrainWeights(c, Must(InitialWeights(c, 1, pool_))))),
        tiles_(bf16 ? Must(ModelTiles::Create(*trained_.model)) : nullptr),
        learner_(*trained_.model, trained_.gradients, {.router = {.balance = 0.01, .z = 0.001}},
                 context_),
        optimizer_(Must(Optimizer::Create(trained_.tensors, {.muon = muon}))),
        sequences_(sequences) {
    if (tiles_ != nullptr) tiles_->Refresh(context_);
  }

  double Step(uint64_t step) {
    const TrainBatch batch = RandomBatch(trained_.model->config(), sequences_, step);
    const auto start = std::chrono::steady_clock::now();
    loss_ = learner_.Accumulate(batch, 0, 1, true).objective.loss;
    const double learned = Seconds(start);
    const double norm = GradientNorm(optimizer_.tensors(), context_);
    optimizer_.Step(1e-4, norm > 1 ? 1 / norm : 1, context_, tiles_.get());
    const double total = Seconds(start);
    update_s_ = total - learned;
    return total;
  }

  ThreadPool& pool() { return pool_; }
  const KernelTable& kernels() const { return kernels_; }
  double loss() const { return loss_; }
  double update_s() const { return update_s_; }

 private:
  ThreadPool pool_;
  KernelTable kernels_;
  Arena arena_;
  Context context_;
  TrainedModel trained_;
  std::unique_ptr<ModelTiles> tiles_;
  Learner learner_;
  Optimizer optimizer_;
  int64_t sequences_;
  double loss_ = 0, update_s_ = 0;
};

int Main(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i + 1 < argc; i += 2) flags.values[argv[i]] = argv[i + 1];
  const ModelConfig c = ConfigOf(flags);
  const int64_t sequences = flags.Int("--batch", 4), steps = flags.Int("--steps", 5);
  const bool bf16 = flags.values["--precision"] != "f32";
  Runner runner(c, static_cast<int>(flags.Int("--threads", 2)), bf16, sequences,
                flags.values["--optimizer"] == "muon");
  PeakLimit peaks = Must(PeakLimit::Create(runner.kernels(), runner.pool()));
  runner.Step(0);
  std::vector<double> step_s, update_s, registers, loads, fma;
  const bool amx = (runner.kernels().tile_product->isa & kIsaAmxBf16) != 0;
  for (int64_t i = 0; i < steps; ++i) {
    registers.push_back(peaks.Measure(amx ? Peak::kAmxBf16 : Peak::kDotBf16, runner.pool()));
    loads.push_back(peaks.Measure(Peak::kAmxBf16Loads, runner.pool()));
    fma.push_back(peaks.Measure(Peak::kFmaF32, runner.pool()));
    step_s.push_back(runner.Step(static_cast<uint64_t>(i) + 1));
    update_s.push_back(runner.update_s());
  }
  const ParameterCount count = CountParameters(c);
  const double tokens = static_cast<double>(sequences * c.context_len);
  const double products = TrainingFlops(c, static_cast<double>(c.context_len + 1) / 2);
  const double rate = tokens / Median(step_s), flops = rate * products;
  const auto share = [&](double peak) { return peak > 0 ? flops / peak : 0; };
  fmt::print(
      "{{\"program\": \"octet\", \"precision\": \"{}\", \"parameters\": {}, \"active\": {}, "
      "\"tokens_per_s\": {:.1f}, \"best_tokens_per_s\": {:.1f}, \"step_s\": {:.4f}, "
      "\"update_s\": {:.4f}, \"flops_per_token\": {:.4e}, \"registers_tflops\": {:.3f}, "
      "\"loads_tflops\": {:.3f}, \"fma_tflops\": {:.3f}, \"share_registers\": {:.3f}, "
      "\"share_loads\": {:.3f}, \"share_fma\": {:.3f}, \"loss\": {:.4f}}}\n",
      bf16 ? "bf16" : "f32", count.total, count.active, rate,
      tokens / *std::min_element(step_s.begin(), step_s.end()), Median(step_s), Median(update_s),
      products, Median(registers) / 1e12, Median(loads) / 1e12, Median(fma) / 1e12,
      share(Median(registers)), share(Median(loads)), share(Median(fma)), runner.loss());
  return 0;
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) { return octet::Main(argc, argv); }
