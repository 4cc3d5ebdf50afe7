// Tensors spread over several files: named by an index, or by the numbers in their names.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/mapped_tensors.h"

namespace octet {

/// Files opened as one source, and what a headers-only opening found absent.
struct OpenedTensors {
  std::unique_ptr<MappedTensors> tensors;    // never null
  std::vector<std::string> missing_files;    // sorted
  std::vector<std::string> missing_tensors;  // sorted; known only where an index names them
};

/// The files that an index (`*.index.json`, Hugging Face's "weight_map") names, in its folder or
/// below. Checks that each tensor is in the file the index says. A full opening with files missing
/// is kNotFound and lists them.
Result<OpenedTensors> OpenIndex(const std::filesystem::path& index, OpenMode mode);

/// All of `files` (sorted names) of `folder`, as the union of their tensors: a name in two of them
/// is kCorrupt. Numbers in the names ("-00002-of-00005", ".03") tell which files are missing.
Result<OpenedTensors> OpenParts(const std::filesystem::path& folder,
                                std::span<const std::string> files, OpenMode mode);

}  // namespace octet
