#include "api/bench_model.h"

#include <fmt/ranges.h>

#include <utility>

#include "api/guard.h"
#include "model/synthetic.h"
#include "perf/presets.h"
#include "ptq/convert.h"
#include "ptq/recipe.h"
#include "text/synthetic_vocabulary.h"

namespace octet {

Result<Checkpoint> SyntheticModel(const BenchOptions& options) {
  OCTET_ASSIGN(const ModelConfig config, PresetConfig(options.synthetic, options.layers));
  OCTET_ASSIGN(const Recipe recipe, RecipeFromName(options.type));
  const FormatChooser chooser(recipe, {}, config, false);
  SyntheticOptions synthetic;
  synthetic.choose = [&](const TensorSpec& spec, const std::string& name) {
    return chooser.Choose(name, spec.role, spec.layer, spec.shape.back());
  };
  synthetic.name = fmt::format("{} ({} layers, {}, random weights)", options.synthetic,
                               config.n_layers, options.type);
  return MakeSyntheticCheckpoint(config, synthetic);
}

Result<ConvertReport> SaveSyntheticModel(const BenchOptions& options,
                                         const std::filesystem::path& destination,
                                         const ConvertOptions& write) {
  return Guarded([&]() -> Result<ConvertReport> {
    if (options.synthetic.empty()) {
      return Err(ErrorCode::kInvalidArgument, "only a synthetic model can be saved; name one of {}",
                 fmt::join(PresetNames(), ", "));
    }
    QuantizeOptions types;
    types.type = options.type;
    OCTET_ASSIGN(const QuantizeChoice choice, ChooseQuantisation(types));
    ConvertSource source;
    OCTET_ASSIGN(source.checkpoint, SyntheticModel(options));
    if (write.tokenizer.empty()) {
      OCTET_ASSIGN(const ModelConfig config, ReadModelConfig(source.checkpoint));
      OCTET_ASSIGN(source.tokenizer, TokenizerFromVocabulary(SyntheticVocabulary(config.vocab_size),
                                                             "synthetic vocabulary"));
    } else {
      OCTET_ASSIGN(source.tokenizer, LoadTokenizer(write.tokenizer));
    }
    source.activity = "writing";
    ConvertOptions gguf = write;
    gguf.target = ConvertTarget::kGguf;
    gguf.type = ConvertType::kDefault;
    return ConvertOpened(std::move(source), destination, gguf, {&choice});
  });
}

}  // namespace octet
