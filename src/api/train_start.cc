#include "api/train_start.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "api/train_options.h"
#include "model/weights.h"
#include "ptq/model_metadata.h"
#include "train/initial.h"

namespace octet {
namespace {

ModelConfig ConfigOf(const TrainOptions& o, int64_t vocab_size) {
  const TrainShape& s = o.shape;
  ModelConfig c;
  c.architecture = s.experts > 0 ? "mixtral" : "llama";
  c.n_layers = s.layers;
  c.d_model = s.d_model;
  c.n_heads = s.heads;
  c.n_kv_heads = s.kv_heads;
  c.head_dim = s.head_dim > 0 ? s.head_dim : s.d_model / std::max<int64_t>(s.heads, 1);
  c.d_ff = s.d_ff;
  c.n_experts = s.experts;
  c.n_experts_per_token = s.experts > 0 ? s.experts_per_token : 0;
  c.vocab_size = vocab_size;
  c.context_len = o.context;
  c.rope_theta = s.rope_theta;
  c.tied_embeddings = s.tied;
  c.rope_pairing = RopePairing::kHalves;
  return c;
}

Result<TrainedModel> BeginNew(const TrainOptions& options, const Tokenizer& tokenizer) {
  if (options.lora_rank > 0) {
    return Err(ErrorCode::kInvalidArgument,
               "adapters stand beside a model's weights; give the model to begin from");
  }
  ModelConfig config = ConfigOf(options, tokenizer.vocab_size());
  // The one check of shapes, through the words of the file that will hold them.
  Checkpoint checkpoint;
  checkpoint.kind = CheckpointKind::kHuggingFace;
  checkpoint.path = options.output;
  checkpoint.config = HfConfigOf(config, nullptr, "float32");
  checkpoint.tensors = std::make_unique<MappedTensors>();
  const auto checked = ReadModelConfig(checkpoint);
  if (!checked)
    return Err(ErrorCode::kInvalidArgument, "the shape of the model: {}", checked.error().message);
  ThreadPool pool(options.threads);
  OCTET_ASSIGN(Parameters weights, InitialWeights(config, options.seed, pool));
  if (options.balance_bias > 0) {
    OCTET_ASSIGN(weights, WithRouterBias(config, std::move(weights)));
  }
  return TrainWeights(config, std::move(weights));
}

Result<TrainedModel> BeginFrom(const TrainOptions& options, const Tokenizer& tokenizer) {
  OCTET_ASSIGN(Checkpoint checkpoint, OpenCheckpoint(options.model));
  OCTET_ASSIGN(std::unique_ptr<Model> model, Model::Load(std::move(checkpoint)));
  ModelConfig config = model->config();
  if (tokenizer.vocab_size() > config.vocab_size) {
    return Err(ErrorCode::kInvalidArgument,
               "the tokenizer has {} tokens, the model {}; give the tokenizer the model was made "
               "with",
               tokenizer.vocab_size(), config.vocab_size);
  }
  if (options.lora_rank > 0) {
    if (options.balance_bias > 0) {
      return Err(ErrorCode::kInvalidArgument,
                 "balance-bias changes the model's routers, which adapters leave as they are; use "
                 "balance");
    }
    OCTET_ASSIGN(Adapters adapters, Adapters::Create(config, {options.lora_rank, AlphaOf(options),
                                                              options.lora_targets}));
    adapters.Initialise(options.seed);
    OCTET_ASSIGN(const AdapterFormat format, ParseAdapterFormat(options.lora_format));
    if (options.context > config.context_len) {
      return Err(ErrorCode::kInvalidArgument,
                 "the context is {}, the model's {}, which adapters do not change; give --context "
                 "{} or less",
                 options.context, config.context_len, config.context_len);
    }
    OCTET_ASSIGN(TrainedModel trained, TrainAdapters(std::move(model), std::move(adapters)));
    trained.adapter_format = format;
    return trained;
  }
  OCTET_ASSIGN(Parameters weights, DecodeWeights(*model));
  if (options.balance_bias > 0) {
    OCTET_ASSIGN(weights, WithRouterBias(config, std::move(weights)));
  }
  ToHalvesPairing(config, weights);
  config.context_len = std::max(config.context_len, options.context);
  return TrainWeights(config, std::move(weights));
}

}  // namespace

Result<TrainedModel> BeginTraining(const TrainOptions& options, const Tokenizer& tokenizer) {
  return options.model.empty() ? BeginNew(options, tokenizer) : BeginFrom(options, tokenizer);
}

}  // namespace octet
