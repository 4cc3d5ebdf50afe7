// A training run on disk: a Hugging Face folder of the weights, and beside them what it takes to go
// on with the very bits the uninterrupted run would have had.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "train/mixture.h"
#include "train/optimizer.h"
#include "train/router_guard.h"
#include "train/trained_model.h"

namespace octet {

struct RunState {
  int64_t step = 0;    // updates done
  int64_t tokens = 0;  // rows learned from
  double seconds = 0;  // spent, over all stretches
  Cursor cursor;
  RouterGuard::Memory guard;
  int rollbacks = 0;  // of the router's guard, each halving the rate
  /// What a resumed run must have in common with this one: names to values, compared as text.
  std::map<std::string, std::string> identity;
};

/// What one checkpoint is written from.
struct RunTensors {
  const TrainedModel& trained;
  Optimizer& optimizer;    // of trained.tensors
  WeightAverage* average;  // may be null
};

/// Files that stand beside the weights: config.json, tokenizer.model …, name to content.
using CompanionFiles = std::map<std::string, std::string>;

/// Writes `folder`/step-00000100 under another name, then renames it: a folder of that name is
/// whole. Then removes all but the `keep` newest. An average of the weights is a model of its own
/// in the folder "average" within.
Status SaveRun(const std::filesystem::path& folder, const RunState& state, RunTensors tensors,
               const CompanionFiles& companions, int keep);

/// The newest whole checkpoint; empty when there is none.
std::filesystem::path NewestRun(const std::filesystem::path& folder);

/// Reads weights, moments and, where there is one, the average back in place. kCorrupt when a
/// tensor does not fit, kInvalidArgument when `identity` differs from the saved one (the error
/// names what).
Result<RunState> LoadRun(const std::filesystem::path& checkpoint, RunTensors tensors,
                         const std::map<std::string, std::string>& identity);

}  // namespace octet
