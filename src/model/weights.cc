#include "model/weights.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "model/packing.h"

namespace octet {

/// Fills a Model tensor by tensor; a separate class so that Model itself stays read-only.
class ModelLoader {
 public:
  ModelLoader(Model& model, const LoadTarget& target) : model_(model), target_(target) {}

  Status Load() {
    if (target_.config != nullptr) {
      model_.config_ = *target_.config;
    } else {
      OCTET_ASSIGN(model_.config_, ReadModelConfig(model_.checkpoint_));
    }
    const ModelConfig& config = model_.config_;
    OCTET_TRY(CheckLayouts(model_.checkpoint_, target_.kernels, target_.arithmetic));
    if (target_.retile != nullptr)
      total_bytes_ = PlanLoad(model_.checkpoint_, config, *target_.kernels).packed;
    OCTET_ASSIGN(const Naming naming, RecogniseNaming(model_.checkpoint_, config));
    Weights& weights = model_.weights_;
    weights.layers.resize(static_cast<size_t>(config.n_layers));
    for (LayerWeights& layer : weights.layers)
      layer.experts.resize(static_cast<size_t>(config.feed_forwards()));
    for (const TensorSpec& spec : TensorSpecs(config)) {
      OCTET_TRY(spec.shape.size() == 1 ? LoadVector(spec, naming) : LoadMatrix(spec, naming));
    }
    if (config.tied_embeddings) {
      weights.head = weights.embedding;
      OCTET_TRY(Retile(weights.head, LayoutOf(TensorRole::kHead, weights.embedding)));
    }
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
    return &Own(std::move(buffer));
  }

  Buffer& Own(Buffer buffer) {
    model_.owned_bytes_ += static_cast<int64_t>(buffer.size());
    model_.owned_.push_back(std::move(buffer));
    if (target_.on_retile && target_.retile != nullptr)
      target_.on_retile(model_.owned_bytes_, total_bytes_);
    return model_.owned_.back();
  }

  Status LoadVector(const TensorSpec& spec, Naming naming) {
    OCTET_ASSIGN(const Found found, FindTensor(spec, naming));
    const FormatInfo& format = Info(found.info->format);
    const int64_t n = spec.shape[0];
    if (format.block_values != 1) {
      return Err(ErrorCode::kUnsupported,
                 "{}: vector {} is stored as {}; expected F32, F16 or BF16", Where(),
                 found.place.name, format.name);
    }
    OCTET_ASSIGN(Buffer * copy, AddCopy(n * static_cast<int64_t>(sizeof(float)), found.place.name));
    format.decode(found.bytes.data(), n, copy->as<float>());
    const View<const float, 1> view = MakeView(static_cast<const float*>(copy->as<float>()), n);
    if (spec.role == TensorRole::kFinalNorm) {
      model_.weights_.final_norm = view;
    } else {
      LayerWeights& layer = model_.weights_.layers[static_cast<size_t>(spec.layer)];
      (spec.role == TensorRole::kAttnNorm     ? layer.attn_norm
       : spec.role == TensorRole::kRouterBias ? layer.router_bias
                                              : layer.ffn_norm) = view;
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
    matrix.layout = found.info->layout;
    OCTET_TRY(CheckPacked(spec.role, matrix, found));
    model_.weight_bytes_ += matrix.bytes();
    Buffer transposed;
    if (found.place.transposed) {
      OCTET_ASSIGN(transposed, Transpose(matrix, found));
      matrix.data = transposed.data();
      model_.checkpoint_.tensors->Release(*found.info);
    }
    const Layout layout = LayoutOf(spec.role, matrix);
    if (layout != matrix.layout) {
      OCTET_TRY(Retile(matrix, layout));
      model_.checkpoint_.tensors->Release(*found.info);
    } else if (transposed.size() > 0) {
      Own(std::move(transposed));
    }
    model_.is_tiled_ = model_.is_tiled_ || matrix.layout != Layout::kRowMajor;
    Slot(spec) = matrix;
    return {};
  }

  /// The layout the matrix is to have.
  Layout LayoutOf(TensorRole role, const WeightMatrix& stored) const {
    if (target_.retile == nullptr) return stored.layout;
    return LayoutFor(role, stored.format, stored.layout, *target_.kernels);
  }

  Status Retile(WeightMatrix& matrix, Layout layout) {
    if (layout == matrix.layout) return {};
    const Packing packing{matrix, layout};
    OCTET_ASSIGN(Buffer buffer,
                 Buffer::Allocate(static_cast<size_t>(PackedBytes(packing)), matrix.name));
    matrix = Pack(packing, buffer.data(), *target_.retile);
    Own(std::move(buffer));
    return {};
  }

  /// A packed matrix is a whole tensor, begins where vector loads may begin, and is no table.
  Status CheckPacked(TensorRole role, const WeightMatrix& matrix, const Found& found) const {
    if (matrix.layout == Layout::kRowMajor) return {};
    const bool is_whole = found.info->shape == std::vector<int64_t>{matrix.rows, matrix.cols};
    const bool is_aligned = reinterpret_cast<uintptr_t>(matrix.data) % 64 == 0;
    if (is_whole && is_aligned && !found.place.transposed && role != TensorRole::kEmbedding)
      return {};
    return Err(ErrorCode::kCorrupt,
               "{}: {} is packed as {}, but not as one matrix at a multiple of 64 bytes; the file "
               "is damaged: pack the model again",
               Where(), found.place.name, LayoutName(matrix.layout));
  }

  static std::string NameOf(const std::string& file_name, const TensorSpec& spec) {
    const bool stacked = spec.expert >= 0 && file_name.find('.' + std::to_string(spec.expert) +
                                                            '.') == std::string::npos;
    return stacked ? file_name + "[" + std::to_string(spec.expert) + "]" : file_name;
  }

  /// Copies the file's [cols, rows] slice into [rows, cols]. Only formats without blocks can be
  /// turned.
  Result<Buffer> Transpose(const WeightMatrix& matrix, const Found& found) {
    const FormatInfo& format = Info(matrix.format);
    if (format.block_values != 1) {
      return Err(ErrorCode::kUnsupported,
                 "{}: {} is stored transposed as {}; expected F32, F16 or BF16", Where(),
                 found.place.name, format.name);
    }
    const int64_t width = format.block_bytes;
    OCTET_ASSIGN(
        Buffer copy,
        Buffer::Allocate(static_cast<size_t>(matrix.rows * matrix.cols * width), found.place.name));
    constexpr int64_t kTile = 64;  // both sides of a tile stay in the first-level cache
    for (int64_t r0 = 0; r0 < matrix.rows; r0 += kTile) {
      for (int64_t c0 = 0; c0 < matrix.cols; c0 += kTile) {
        for (int64_t r = r0; r < std::min(r0 + kTile, matrix.rows); ++r) {
          for (int64_t c = c0; c < std::min(c0 + kTile, matrix.cols); ++c) {
            std::memcpy(copy.data() + (r * matrix.cols + c) * width,
                        matrix.data + (c * matrix.rows + r) * width, static_cast<size_t>(width));
          }
        }
      }
    }
    return copy;
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
  const LoadTarget& target_;
  int64_t total_bytes_ = 0;  // that the model will own, where it re-tiles
};

std::unique_ptr<Model> Model::FromWeights(const ModelConfig& config, Weights weights) {
  std::unique_ptr<Model> model(new Model());
  model->config_ = config;
  model->weights_ = std::move(weights);
  return model;
}

Result<std::unique_ptr<Model>> Model::Load(Checkpoint checkpoint, const LoadTarget& target) {
  CHECK(target.retile == nullptr || target.kernels != nullptr);
  std::unique_ptr<Model> model(new Model());
  model->checkpoint_ = std::move(checkpoint);
  OCTET_TRY(ModelLoader(*model, target).Load());
  return model;
}

}  // namespace octet
