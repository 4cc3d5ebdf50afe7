// Tokens a second with guessing ahead against plain decoding, interleaved, on a model of random
// weights in a real shape: speculation [PRESET] [LAYERS] [TYPE] [ROUNDS].
// The text is sampled, so that experts are as mixed as they get; guesses come from a list of what
// the text will be, wrong at a given rate, and from lookup in that text and in one that repeats.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "base/rng.h"
#include "cpu/isa.h"
#include "engine/engine.h"
#include "engine/lookup_drafter.h"
#include "model/synthetic.h"
#include "perf/presets.h"
#include "ptq/recipe.h"

namespace octet {
namespace {

constexpr int64_t kTokens = 64;  // of an answer

/// Tokens have no text here.
class NoText : public Tokenizer {
 public:
  explicit NoText(int64_t n) {
    vocabulary_.tokens.resize(static_cast<size_t>(n));
    vocabulary_.eos = -1;
  }
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::vector<int32_t> Encode(std::string_view) const override { return {}; }
  std::string Decode(std::span<const int32_t>) const override { return {}; }
  std::string_view TokenBytes(int32_t) const override { return {}; }

 private:
  Vocabulary vocabulary_;
};

/// Guesses that are right with a given chance, each by its own draw.
class KnowingDrafter : public Drafter {
 public:
  KnowingDrafter(std::vector<int32_t> text, double chance)
      : text_(std::move(text)), chance_(chance) {}
  double Draft(std::span<const DraftJob> jobs, Context&) override {
    for (const DraftJob& job : jobs) {
      job.draft->clear();
      for (size_t i = job.tokens.size(); i < text_.size(); ++i) {
        if (static_cast<int32_t>(job.draft->size()) == job.most) break;
        const bool right = RandomUniform(5, ++draws_, i) < chance_;
        job.draft->push_back({right ? text_[i] : text_[i] ^ 1, 0});
      }
    }
    return 0;
  }
  double FirstRate(int32_t) const override { return 0.5; }

 private:
  std::vector<int32_t> text_;
  double chance_;
  uint64_t draws_ = 0;
};

struct Case {
  std::string name;
  Request request;
  std::shared_ptr<Drafter> drafter;
  std::unique_ptr<Engine> engine = nullptr;
  std::vector<double> ratios = {};
  GuessCount guesses = {};
};

class Bench {
 public:
  Bench(const Model& model, const Tokenizer& tokenizer) : model_(model), tokenizer_(tokenizer) {
    plain_ = Make(nullptr);
  }

  Request SampledRequest() const {
    Request request;
    for (int i = 0; i < 64; ++i)
      request.prompt.push_back(
          static_cast<int32_t>(RandomBits(1, 2, static_cast<uint64_t>(i)) %
                               static_cast<uint64_t>(model_.config().vocab_size)));
    request.sampling = SamplingOptions::Plain();
    request.max_tokens = kTokens;
    return request;
  }
  /// The answer is one token over and over.
  Request RepeatingRequest() const {
    Request request = SampledRequest();
    request.sampling.logit_bias = {{request.prompt[0], 1e6f}};
    return request;
  }

  double Seconds(Engine& engine, const Request& request, std::vector<int32_t>* ids,
                 GuessCount* guesses) const {
    if (!engine.Submit(request)) std::abort();
    std::vector<int32_t> tokens;
    engine.Step();  // the prompt's
    const auto start = std::chrono::steady_clock::now();
    while (engine.busy()) {
      for (const Event& event : engine.Step()) {
        tokens.push_back(event.token);
        if (event.finish && guesses != nullptr) *guesses = event.guesses;
      }
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (ids != nullptr) *ids = std::move(tokens);
    return seconds.count();
  }

  std::vector<int32_t> TextOf(const Request& request) {
    std::vector<int32_t> text = request.prompt;
    Request whole = request;
    if (!plain_->Submit(whole)) std::abort();
    while (plain_->busy()) {
      for (const Event& event : plain_->Step()) text.push_back(event.token);
    }
    return text;
  }

  void Add(std::string name, Request request, const std::shared_ptr<Drafter>& drafter) {
    cases_.push_back({std::move(name), std::move(request), drafter});
    cases_.back().engine = Make(drafter);
  }

  void Run(int rounds) {
    for (Case& c : cases_) Seconds(*c.engine, c.request, nullptr, nullptr);  // learns
    for (int round = 0; round < rounds; ++round) {
      for (Case& c : cases_) {
        std::vector<int32_t> plain_ids, ids;
        const double plain = Seconds(*plain_, c.request, &plain_ids, nullptr);
        const double guessed = Seconds(*c.engine, c.request, &ids, &c.guesses);
        if (ids != plain_ids) fmt::print("{}: OTHER TOKENS\n", c.name);
        c.ratios.push_back(plain / guessed);
      }
    }
    fmt::print(
        "| guesses | guessed/plain, median (min–max) | steps | drafted | right |\n"
        "|---|---|---|---|---|\n");
    for (Case& c : cases_) {
      std::sort(c.ratios.begin(), c.ratios.end());
      fmt::print("| {} | {:.2f} ({:.2f}–{:.2f}) | {} of {} | {} | {} |\n", c.name,
                 c.ratios[c.ratios.size() / 2], c.ratios.front(), c.ratios.back(), c.guesses.steps,
                 kTokens, c.guesses.drafted, c.guesses.accepted);
    }
  }

 private:
  std::unique_ptr<Engine> Make(std::shared_ptr<Drafter> drafter) {
    EngineOptions options;
    options.max_context = 512;
    options.speculation.drafter = std::move(drafter);
    auto engine = Engine::Create(model_, tokenizer_, options);
    if (!engine) std::abort();
    return *std::move(engine);
  }

  const Model& model_;
  const Tokenizer& tokenizer_;
  std::unique_ptr<Engine> plain_;
  std::vector<Case> cases_;
};

Status Main(const std::vector<std::string>& args) {
  const auto arg = [&](size_t i, const char* otherwise) {
    return i < args.size() ? args[i] : std::string(otherwise);
  };
  OCTET_ASSIGN(const ModelConfig config,
               PresetConfig(arg(0, "mixtral-8x7b"), std::atoi(arg(1, "4").c_str())));
  OCTET_ASSIGN(const Recipe recipe, RecipeFromName(arg(2, "q4_k_m")));
  const FormatChooser chooser(recipe, {}, config, false);
  SyntheticOptions synthetic;
  synthetic.choose = [&](const TensorSpec& spec, const std::string& name) {
    return chooser.Choose(name, spec.role, spec.layer, spec.shape.back());
  };
  OCTET_ASSIGN(Checkpoint checkpoint, MakeSyntheticCheckpoint(config, synthetic));
  OCTET_ASSIGN(const uint32_t isa, SelectIsaFromEnvironment());
  const KernelTable kernels = SelectKernels(isa);
  ThreadPool pool;
  LoadTarget target{&kernels};
  target.retile = &pool;
  OCTET_ASSIGN(const std::unique_ptr<Model> model, Model::Load(std::move(checkpoint), target));
  const NoText tokenizer(config.vocab_size);
  Bench bench(*model, tokenizer);
  const Request sampled = bench.SampledRequest();
  const std::vector<int32_t> text = bench.TextOf(sampled);
  for (const double chance : {1.0, 0.8, 0.5, 0.0}) {
    bench.Add(fmt::format("right with chance {}", chance), sampled,
              std::make_shared<KnowingDrafter>(text, chance));
  }
  bench.Add("lookup, sampled text", sampled, std::make_shared<LookupDrafter>(1, 512));
  bench.Add("lookup, repeating text", bench.RepeatingRequest(),
            std::make_shared<LookupDrafter>(1, 512));
  bench.Run(std::atoi(arg(3, "3").c_str()));
  return {};
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) {
  const auto status = octet::Main({argv + 1, argv + argc});
  if (status) return 0;
  fmt::print(stderr, "{}\n", status.error().message);
  return 1;
}
