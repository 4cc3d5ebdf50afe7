#include "io/shards.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "io/json.h"
#include "io/safetensors.h"
#include "io/torch_checkpoint.h"

namespace octet {
namespace {

constexpr uint32_t kMaxParts = 10000;

Status AddTensorFile(MappedTensors& into, const std::filesystem::path& path, OpenMode mode) {
  return path.extension() == ".safetensors" ? AddSafetensors(into, path, mode)
                                            : AddTorchCheckpoint(into, path, mode);
}

// A shard's name must lead to a file of the index's folder or below it.
Result<std::filesystem::path> ShardPath(const std::filesystem::path& index,
                                        const std::string& shard) {
  const std::filesystem::path relative(shard);
  const bool climbs = std::any_of(relative.begin(), relative.end(),
                                  [](const auto& component) { return component == ".."; });
  if (shard.empty() || relative.is_absolute() || climbs || shard.find('\0') != shard.npos) {
    return Err(ErrorCode::kCorrupt, "{}: shard \"{}\" is not a path inside the folder",
               index.string(), shard);
  }
  return index.parent_path() / relative;
}

using WeightMap = std::map<std::string, std::string>;  // tensor → file

Result<WeightMap> ReadWeightMap(const std::filesystem::path& index) {
  OCTET_ASSIGN(const nlohmann::json json, ReadJsonFile(index));
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object() ||
      json["weight_map"].empty()) {
    return Err(ErrorCode::kCorrupt, "{}: expected an object \"weight_map\" of tensor to file",
               index.string());
  }
  WeightMap weight_map;
  for (const auto& [tensor, shard] : json["weight_map"].items()) {
    if (!shard.is_string()) {
      return Err(ErrorCode::kCorrupt, "{}: the file of {} is not a string", index.string(), tensor);
    }
    weight_map[tensor] = shard.get<std::string>();
  }
  return weight_map;
}

// Every tensor is in the file that the index says, or its file is missing.
Status ListMissingTensors(OpenedTensors& opened, const std::filesystem::path& index,
                          const WeightMap& weight_map) {
  const std::set<std::string_view> missing(opened.missing_files.begin(),
                                           opened.missing_files.end());
  std::set<std::string_view> skipped;
  for (const SkippedTensor& tensor : opened.tensors->skipped()) skipped.insert(tensor.name);
  for (const auto& [tensor, shard] : weight_map) {
    if (opened.tensors->Find(tensor) != nullptr || skipped.contains(tensor)) continue;
    if (!missing.contains(shard)) {
      return Err(ErrorCode::kCorrupt,
                 "{}: says that {} is in {}, which does not have it; the files are of different "
                 "checkpoints or damaged",
                 index.string(), tensor, shard);
    }
    opened.missing_tensors.push_back(tensor);
  }
  return {};
}

Status CheckComplete(const OpenedTensors& opened, std::string_view who, OpenMode mode) {
  if (mode == OpenMode::kHeadersOnly || opened.missing_files.empty()) return {};
  return Err(ErrorCode::kNotFound, "{}: {} files of the model are not there: {}; fetch them", who,
             opened.missing_files.size(), fmt::join(opened.missing_files, ", "));
}

// "model-00002-of-00005.safetensors" or "consolidated.03.pth".
struct PartName {
  std::string_view before, after;  // around the number
  std::string_view digits;
  uint32_t number = 0;
  std::optional<uint32_t> count;  // where the name says it; numbers then start at 1, otherwise at 0
};

// The run of digits that ends at `end` of `name`.
std::string_view DigitsBefore(std::string_view name, size_t end) {
  size_t begin = end;
  while (begin > 0 && name[begin - 1] >= '0' && name[begin - 1] <= '9') --begin;
  return name.substr(begin, end - begin);
}

std::optional<uint32_t> ToNumber(std::string_view digits) {
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || number > kMaxParts) return {};
  return number;
}

std::optional<PartName> ParsePartName(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == name.npos) return {};
  std::optional<uint32_t> count;
  std::string_view digits = DigitsBefore(name, dot);
  if (name.substr(0, dot - digits.size()).ends_with("-of-")) {
    count = ToNumber(digits);
    digits = DigitsBefore(name, dot - digits.size() - 4);
    if (!count) return {};
  }
  const auto number = ToNumber(digits);
  if (!number) return {};
  const auto begin = static_cast<size_t>(digits.data() - name.data());
  const char separator = begin > 0 ? name[begin - 1] : '\0';
  if (separator != (count ? '-' : '.')) return {};
  return PartName{name.substr(0, begin), name.substr(begin + digits.size()), digits, *number,
                  count};
}

// The names that the numbering of `files` asks for and that are not among them.
std::vector<std::string> MissingParts(std::span<const std::string> files) {
  const std::set<std::string_view> have(files.begin(), files.end());
  std::set<std::string> missing;
  std::set<std::pair<std::string_view, std::string_view>> seen;
  // Backwards, as the last of a sorted set of parts has the highest number.
  for (auto file = files.rbegin(); file != files.rend(); ++file) {
    const auto part = ParsePartName(*file);
    if (!part || !seen.emplace(part->before, part->after).second) continue;
    const uint32_t first = part->count ? 1 : 0;
    const uint32_t last = part->count ? *part->count : part->number;
    for (uint32_t number = first; number <= last; ++number) {
      std::string name =
          fmt::format("{}{:0{}}{}", part->before, number, part->digits.size(), part->after);
      if (!have.contains(name)) missing.insert(std::move(name));
    }
  }
  return {missing.begin(), missing.end()};
}

}  // namespace

Result<OpenedTensors> OpenIndex(const std::filesystem::path& index, OpenMode mode) {
  OCTET_ASSIGN(const WeightMap weight_map, ReadWeightMap(index));
  OpenedTensors opened;
  opened.tensors = std::make_unique<MappedTensors>();
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : weight_map) shards.insert(shard);
  std::vector<std::filesystem::path> present;
  for (const std::string& shard : shards) {
    OCTET_ASSIGN(auto path, ShardPath(index, shard));
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) {
      present.push_back(std::move(path));
    } else {
      opened.missing_files.push_back(shard);
    }
  }
  OCTET_TRY(CheckComplete(opened, index.string(), mode));
  for (const auto& path : present) OCTET_TRY(AddTensorFile(*opened.tensors, path, mode));
  OCTET_TRY(ListMissingTensors(opened, index, weight_map));
  return opened;
}

Result<OpenedTensors> OpenParts(const std::filesystem::path& folder,
                                std::span<const std::string> files, OpenMode mode) {
  OpenedTensors opened;
  opened.tensors = std::make_unique<MappedTensors>();
  opened.missing_files = MissingParts(files);
  OCTET_TRY(CheckComplete(opened, folder.string(), mode));
  for (const std::string& file : files) {
    OCTET_TRY(AddTensorFile(*opened.tensors, folder / file, mode));
  }
  return opened;
}

}  // namespace octet
