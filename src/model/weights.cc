#include "model/weights.h"

#include <cstring>
#include <utility>

#include "base/check.h"

namespace octet {

/// Fills a Model tensor by tensor; a separate class so that Model itself stays read-only.
class ModelLoader {
 public:
  explicit ModelLoader(Model& model) : model_(model) {}

  Status Load() {
    OCTET_ASSIGN(model_.config_, ReadModelConfig(model_.checkpoint_));
    const ModelConfig& config = model_.config_;
    OCTET_ASSIGN(const Naming naming, RecogniseNaming(model_.checkpoint_, config));
    Weights& weights = model_.weights_;
    weights.layers.resize(static_cast<size_t>(config.n_layers));
    for (LayerWeights& layer : weights.layers)
      layer.experts.resize(static_cast<size_t>(config.feed_forwards()));
    for (const TensorSpec& spec : TensorSpecs(config)) {
      OCTET_TRY(spec.shape.size() == 1 ? LoadVector(spec, naming) : LoadMatrix(spec, naming));
    }
    if (config.tied_embeddings) weights.head = weights.embedding;
    return {};
  }

 private:
  struct Found {
    const TensorInfo* info = nullptr;
    TensorPlace place;
    std::span<const std::byte> bytes;  // of the whole file tensor
  };

  std::string Where() const { return model_.checkpoint_.path.string(); }

  Result<Found> FindTensor(const TensorSpec& spec, Naming naming) const {
    Found found;
    found.place = PlaceOf(spec, model_.config_, naming);
    found.info = model_.checkpoint_.tensors->Find(found.place.name);
    if (found.info == nullptr) {
      return Err(ErrorCode::kCorrupt,
                 "{}: tensor {} {} is missing; the checkpoint is incomplete or from another model",
                 Where(), found.place.name, ShapeString(found.place.file_shape));
    }
    if (!SameShape(found.info->shape, found.place.file_shape)) {
      return Err(ErrorCode::kCorrupt,
                 "{}: {} is {}, expected {}; the file is damaged or from another model", Where(),
                 found.place.name, ShapeString(found.info->shape),
                 ShapeString(found.place.file_shape));
    }
    OCTET_ASSIGN(found.bytes, model_.checkpoint_.tensors->Data(*found.info));
    return found;
  }

  /// Stacked experts come as [E, rows, cols] or flattened to [E·rows, cols].
  static bool SameShape(const std::vector<int64_t>& got, const std::vector<int64_t>& want) {
    if (got == want) return true;
    const bool flattened = want.size() == 3 && got.size() == 2;
    const bool unflattened = want.size() == 2 && got.size() == 3;
    if (flattened) return got[0] == want[0] * want[1] && got[1] == want[2];
    return unflattened && got[0] * got[1] == want[0] && got[2] == want[1];
  }

  Result<Buffer*> AddCopy(int64_t bytes, const std::string& name) {
    OCTET_ASSIGN(Buffer buffer, Buffer::Allocate(static_cast<size_t>(bytes), name));
    model_.copies_.push_back(std::move(buffer));
    model_.copied_bytes_ += bytes;
    return &model_.copies_.back();
  }

  Status LoadVector(const TensorSpec& spec, Naming naming) {
    OCTET_ASSIGN(const Found found, FindTensor(spec, naming));
    const FormatInfo& format = Info(found.info->format);
    const int64_t n = spec.shape[0];
    if (format.block_values != 1) {
      return Err(ErrorCode::kUnsupported, "{}: norm {} is stored as {}; expected F32, F16 or BF16",
                 Where(), found.place.name, format.name);
    }
    OCTET_ASSIGN(Buffer * copy, AddCopy(n * static_cast<int64_t>(sizeof(float)), found.place.name));
    format.decode(found.bytes.data(), n, copy->as<float>());
    const View<const float, 1> view = MakeView(static_cast<const float*>(copy->as<float>()), n);
    if (spec.role == TensorRole::kFinalNorm) {
      model_.weights_.final_norm = view;
    } else {
      LayerWeights& layer = model_.weights_.layers[static_cast<size_t>(spec.layer)];
      (spec.role == TensorRole::kAttnNorm ? layer.attn_norm : layer.ffn_norm) = view;
    }
    return {};
  }

  Status LoadMatrix(const TensorSpec& spec, Naming naming) {
    OCTET_ASSIGN(Found found, FindTensor(spec, naming));
    const FormatInfo& format = Info(found.info->format);
    const int64_t rows = spec.shape[0], cols = spec.shape[1];
    const int64_t file_cols = found.place.transposed ? rows : cols;
    if (file_cols % format.block_values != 0) {
      return Err(ErrorCode::kCorrupt, "{}: {} has rows of {} values, {} packs blocks of {}",
                 Where(), found.place.name, file_cols, format.name, format.block_values);
    }
    WeightMatrix matrix;
    model_.names_.push_back(std::make_unique<std::string>(NameOf(found.place.name, spec)));
    matrix.name = *model_.names_.back();
    matrix.format = found.info->format;
    matrix.rows = rows;
    matrix.cols = cols;
    matrix.data =
        found.bytes.data() + found.place.first_row * FormatBytes(matrix.format, file_cols);
    if (found.place.transposed) {
      OCTET_ASSIGN(matrix.data, Transpose(matrix, found));
    }
    model_.weight_bytes_ += matrix.bytes();
    Slot(spec) = matrix;
    return {};
  }

  static std::string NameOf(const std::string& file_name, const TensorSpec& spec) {
    const bool stacked = spec.expert >= 0 && file_name.find('.' + std::to_string(spec.expert) +
                                                            '.') == std::string::npos;
    return stacked ? file_name + "[" + std::to_string(spec.expert) + "]" : file_name;
  }

  /// Copies the file's [cols, rows] slice into [rows, cols]. Only formats without blocks can be
  /// turned.
  Result<const std::byte*> Transpose(const WeightMatrix& matrix, const Found& found) {
    const FormatInfo& format = Info(matrix.format);
    if (format.block_values != 1) {
      return Err(ErrorCode::kUnsupported,
                 "{}: {} is stored transposed as {}; expected F32, F16 or BF16", Where(),
                 found.place.name, format.name);
    }
    const int64_t width = format.block_bytes;
    OCTET_ASSIGN(Buffer * copy, AddCopy(matrix.rows * matrix.cols * width, found.place.name));
    constexpr int64_t kTile = 64;  // both sides of a tile stay in the first-level cache
    for (int64_t r0 = 0; r0 < matrix.rows; r0 += kTile) {
      for (int64_t c0 = 0; c0 < matrix.cols; c0 += kTile) {
        for (int64_t r = r0; r < std::min(r0 + kTile, matrix.rows); ++r) {
          for (int64_t c = c0; c < std::min(c0 + kTile, matrix.cols); ++c) {
            std::memcpy(copy->data() + (r * matrix.cols + c) * width,
                        matrix.data + (c * matrix.rows + r) * width, static_cast<size_t>(width));
          }
        }
      }
    }
    return static_cast<const std::byte*>(copy->data());
  }

  WeightMatrix& Slot(const TensorSpec& spec) {
    Weights& weights = model_.weights_;
    if (spec.role == TensorRole::kEmbedding) return weights.embedding;
    if (spec.role == TensorRole::kHead) return weights.head;
    LayerWeights& layer = weights.layers[static_cast<size_t>(spec.layer)];
    Expert& expert = layer.experts[static_cast<size_t>(std::max(spec.expert, 0))];
    switch (spec.role) {
      case TensorRole::kWq:
        return layer.wq;
      case TensorRole::kWk:
        return layer.wk;
      case TensorRole::kWv:
        return layer.wv;
      case TensorRole::kWo:
        return layer.wo;
      case TensorRole::kRouter:
        return layer.router;
      case TensorRole::kW1:
        return expert.w1;
      case TensorRole::kW2:
        return expert.w2;
      case TensorRole::kW3:
        return expert.w3;
      default:
        break;
    }
    CHECK(false && "a vector has no matrix slot");
    return weights.head;
  }

  Model& model_;
};

std::unique_ptr<Model> Model::FromWeights(const ModelConfig& config, Weights weights) {
  std::unique_ptr<Model> model(new Model());
  model->config_ = config;
  model->weights_ = std::move(weights);
  return model;
}

Result<std::unique_ptr<Model>> Model::Load(Checkpoint checkpoint) {
  std::unique_ptr<Model> model(new Model());
  model->checkpoint_ = std::move(checkpoint);
  OCTET_TRY(ModelLoader(*model).Load());
  return model;
}

}  // namespace octet
