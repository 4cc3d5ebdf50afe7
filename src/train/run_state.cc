#include "train/run_state.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "train/float_file.h"

namespace octet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kPrefix[] = "step-";
constexpr char kUnfinished[] = ".unfinished-";
constexpr char kStateName[] = "training.json";
constexpr char kWeightsName[] = "model.safetensors";
constexpr char kStateFolder[] = "optimizer";
constexpr char kAverageFolder[] = "average";

/// Whole checkpoints by step, oldest first.
std::vector<std::pair<int64_t, fs::path>> Checkpoints(const fs::path& folder) {
  std::vector<std::pair<int64_t, fs::path>> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix) || !fs::exists(entry.path() / kStateName, error)) continue;
    const std::string digits = name.substr(sizeof kPrefix - 1);
    if (digits.empty() || digits.size() > 18 ||
        digits.find_first_not_of("0123456789") != std::string::npos)
      continue;
    found.emplace_back(std::stoll(digits), entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

bool HasAverage(const RunTensors& tensors) {
  return tensors.average != nullptr && tensors.average->updates() > 0;
}

/// Moments; adapters and their average too, whose own files have another order of rows.
std::vector<NamedFloats> StateOf(const RunTensors& tensors) {
  std::vector<NamedFloats> out;
  for (size_t i = 0; i < tensors.trained.tensors.size(); ++i) {
    const TrainedTensor& tensor = tensors.trained.tensors[i];
    const std::vector<int64_t>& shape = tensors.trained.shapes[i];
    if (tensors.trained.adapters != nullptr)
      out.push_back({"weight." + tensor.name, shape, tensor.weight});
    for (const Optimizer::Memory& memory : tensors.optimizer.MemoryOf(i))
      out.push_back({memory.name + ("." + tensor.name), shape, memory.values});
    if (tensors.trained.adapters != nullptr && HasAverage(tensors))
      out.push_back({"average." + tensor.name, shape, tensors.average->Of(i)});
  }
  return out;
}

void SwapWithAverage(const RunTensors& tensors) {
  for (size_t i = 0; i < tensors.trained.tensors.size(); ++i) {
    const std::span<float> weight = tensors.trained.tensors[i].weight;
    std::swap_ranges(weight.begin(), weight.end(), tensors.average->Of(i).begin());
  }
}

/// A model, or adapter, of its own.
Status WriteAverage(const fs::path& folder, const RunTensors& tensors,
                    const CompanionFiles& companions) {
  std::error_code error;
  fs::create_directories(folder, error);
  SwapWithAverage(tensors);
  const Status written = tensors.trained.Write(folder);
  SwapWithAverage(tensors);
  OCTET_TRY(written);
  for (const auto& [file, content] : companions)
    OCTET_TRY(WriteFileAtomically(folder / file, content));
  return {};
}

json StateJson(const RunState& state, const RunTensors& tensors) {
  json cursor = json::array();
  for (const Cursor::Place& place : state.cursor.sources) {
    cursor.push_back(
        {{"documents", place.documents}, {"offset", place.offset}, {"tokens", place.tokens}});
  }
  return {{"step", state.step},
          {"tokens", state.tokens},
          {"seconds", state.seconds},
          {"optimizer_steps", tensors.optimizer.steps()},
          {"average_updates", tensors.average == nullptr ? 0 : tensors.average->updates()},
          {"cursor", cursor},
          {"guard",
           {{"bad", state.guard.bad},
            {"effective", state.guard.effective},
            {"load", state.guard.load}}},
          {"rollbacks", state.rollbacks},
          {"identity", state.identity}};
}

Status CheckIdentity(const fs::path& path, const std::map<std::string, std::string>& saved,
                     const std::map<std::string, std::string>& now) {
  const auto value_in = [](const auto& values, const std::string& name) {
    const auto found = values.find(name);
    return found == values.end() ? std::string("not set") : found->second;
  };
  std::set<std::string> names;
  for (const auto& [name, value] : now) names.insert(name);
  for (const auto& [name, value] : saved) names.insert(name);
  for (const std::string& name : names) {
    const std::string was = value_in(saved, name), is = value_in(now, name);
    if (was != is) {
      return Err(
          ErrorCode::kInvalidArgument,
          "{}: the run was begun with {} {}, now it is {}; resume with what it was, or begin "
          "another run from its weights",
          path.string(), name, was, is);
    }
  }
  return {};
}

Status WriteRun(const fs::path& folder, const RunState& state, const RunTensors& tensors,
                const CompanionFiles& companions) {
  OCTET_TRY(tensors.trained.Write(folder));
  OCTET_TRY(WriteFloats(folder / kStateFolder, StateOf(tensors)));
  for (const auto& [file, content] : companions)
    OCTET_TRY(WriteFileAtomically(folder / file, content));
  if (HasAverage(tensors)) OCTET_TRY(WriteAverage(folder / kAverageFolder, tensors, companions));
  // Last: a folder without it is not taken for a checkpoint, even under its final name.
  return WriteFileAtomically(folder / kStateName, StateJson(state, tensors).dump(1) + "\n");
}

}  // namespace

Status SaveRun(const fs::path& folder, const RunState& state, RunTensors tensors,
               const CompanionFiles& companions, int keep) {
  const std::string name = fmt::format("{}{:08}", kPrefix, state.step);
  const fs::path unfinished = folder / (kUnfinished + name), whole = folder / name;
  std::error_code error;
  fs::remove_all(unfinished, error);
  fs::create_directories(unfinished, error);
  if (error) return Err(ErrorCode::kIo, "{}: {}", unfinished.string(), error.message());
  if (Status written = WriteRun(unfinished, state, tensors, companions); !written) {
    fs::remove_all(unfinished, error);  // half a checkpoint on a full disk helps nobody
    return written;
  }
  fs::remove_all(whole, error);
  fs::rename(unfinished, whole, error);
  if (error) return Err(ErrorCode::kIo, "{}: {}", whole.string(), error.message());
  auto all = Checkpoints(folder);
  for (size_t i = 0; i + static_cast<size_t>(std::max(keep, 1)) < all.size(); ++i)
    fs::remove_all(all[i].second, error);
  return {};
}

fs::path NewestRun(const fs::path& folder) {
  const auto all = Checkpoints(folder);
  return all.empty() ? fs::path() : all.back().second;
}

Result<RunState> LoadRun(const fs::path& checkpoint, RunTensors tensors,
                         const std::map<std::string, std::string>& identity) {
  OCTET_ASSIGN(const json saved, ReadJsonFile(checkpoint / kStateName));
  RunState state;
  int64_t optimizer_steps = 0, average_updates = 0;
  try {
    state.step = saved.at("step").get<int64_t>();
    state.tokens = saved.at("tokens").get<int64_t>();
    state.seconds = saved.at("seconds").get<double>();
    optimizer_steps = saved.at("optimizer_steps").get<int64_t>();
    average_updates = saved.at("average_updates").get<int64_t>();
    state.identity = saved.at("identity").get<std::map<std::string, std::string>>();
    for (const json& place : saved.at("cursor")) {
      state.cursor.sources.push_back({place.at("documents").get<int64_t>(),
                                      place.at("offset").get<int64_t>(),
                                      place.at("tokens").get<int64_t>()});
    }
    if (const auto guard = saved.find("guard"); guard != saved.end()) {
      state.guard = {guard->at("bad").get<int>(), guard->at("effective").get<std::vector<double>>(),
                     guard->at("load").get<std::vector<std::vector<double>>>()};
    }
    state.rollbacks = saved.value("rollbacks", 0);
  } catch (const json::exception& e) {
    return Err(ErrorCode::kCorrupt, "{}: {}", (checkpoint / kStateName).string(), e.what());
  }
  OCTET_TRY(CheckIdentity(checkpoint, state.identity, identity));

  const bool adapters = tensors.trained.adapters != nullptr;
  const bool has_average = tensors.average != nullptr && average_updates > 0;
  MappedTensors weights, moments, average;
  OCTET_TRY(AddSafetensors(moments, checkpoint / kStateFolder / kWeightsName, OpenMode::kFull));
  if (!adapters) OCTET_TRY(AddSafetensors(weights, checkpoint / kWeightsName, OpenMode::kFull));
  if (!adapters && has_average) {
    OCTET_TRY(AddSafetensors(average, checkpoint / kAverageFolder / kWeightsName, OpenMode::kFull));
  }
  for (size_t i = 0; i < tensors.trained.tensors.size(); ++i) {
    const TrainedTensor& t = tensors.trained.tensors[i];
    OCTET_TRY(adapters ? ReadFloats(moments, checkpoint, "weight." + t.name, t.weight)
                       : ReadFloats(weights, checkpoint, t.name, t.weight));
    for (const Optimizer::Memory& memory : tensors.optimizer.MemoryOf(i))
      OCTET_TRY(ReadFloats(moments, checkpoint, memory.name + ("." + t.name), memory.values));
    if (!has_average) continue;
    const std::span<float> into = tensors.average->Of(i);
    OCTET_TRY(adapters ? ReadFloats(moments, checkpoint, "average." + t.name, into)
                       : ReadFloats(average, checkpoint / kAverageFolder, t.name, into));
  }
  tensors.optimizer.Restore(optimizer_steps);
  // A checkpoint without one begins its average with the next update.
  if (tensors.average != nullptr) tensors.average->Restore(average_updates);
  return state;
}

}  // namespace octet
