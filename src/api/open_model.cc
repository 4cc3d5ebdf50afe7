#include "api/open_model.h"

#include "octet/default_model.h"
#include "text/gguf_vocabulary.h"

namespace octet {
namespace {

Result<OpenedModel> OpenEmbedded() {
  OpenedModel opened;
  opened.name = DefaultModelName();
  OCTET_ASSIGN(opened.checkpoint, OpenCheckpointFromBytes(DefaultModelBytes(), opened.name));
  OCTET_ASSIGN(Vocabulary vocabulary, VocabularyFromGguf(*opened.checkpoint.gguf, opened.name));
  OCTET_ASSIGN(opened.tokenizer, TokenizerFromVocabulary(std::move(vocabulary), opened.name));
  return opened;
}

}  // namespace

Result<OpenedModel> OpenModel(const std::string& path) {
  if (path.empty()) return OpenEmbedded();
  OpenedModel opened;
  OCTET_ASSIGN(opened.checkpoint, OpenCheckpoint(path));
  OCTET_ASSIGN(opened.tokenizer, LoadTokenizer(path));
  const std::filesystem::path clean = std::filesystem::path(path).lexically_normal();
  opened.name = (clean.has_filename() ? clean : clean.parent_path()).stem().string();
  return opened;
}

}  // namespace octet
