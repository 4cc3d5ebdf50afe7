// A training run as a picture.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"

namespace octet {

/// An SVG of a run's metrics.jsonl: losses, held-out losses, rate, norm of the gradient, tokens a
/// second, and the load of every expert over time, a heat map a layer.
Result<std::string> TrainCurvesSvg(const std::filesystem::path& metrics, const std::string& title);

}  // namespace octet
