// A model's files and its tokenizer, from a path or from inside the program.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "io/checkpoint.h"
#include "text/tokenizer.h"

namespace octet {

struct OpenedModel {
  Checkpoint checkpoint;
  std::unique_ptr<Tokenizer> tokenizer;
  std::string name;  // of the folder or file, or of the embedded model
};
/// `path` empty: the model inside the program.
Result<OpenedModel> OpenModel(const std::string& path);

}  // namespace octet
