// The gradient of model/tile_layer.h.
#pragma once

#include "model/layer_grad.h"

namespace octet {

/// As LayerBackward, from what TileLayerForward kept.
void TileLayerBackward(const LayerGradTask& task, View<float, 2> d_h, Context& context);

}  // namespace octet
