// Tokenised documents in a file that is mapped and never read whole. Layout, little endian:
//   "OCTTOK02", u32 bytes a token (2 or 4), u32 flags (1: there are weights), u64 documents,
//   u64 tokens, u64 key; u64 end of each document, in tokens; tokens; a float a token, where there
//   are weights: how much it counts, 0 if it is not learned.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"

namespace octet {

class TokenFileWriter {
 public:
  /// `weighted`: every document comes with weights.
  TokenFileWriter(int64_t vocab_size, bool weighted)
      : wide_(vocab_size > 65536), weighted_(weighted) {}
  /// Documents are kept in memory, encoded, until Write.
  void Add(std::span<const int32_t> ids, std::span<const float> weights = {});
  int64_t documents() const { return static_cast<int64_t>(ends_.size()); }
  int64_t tokens() const { return ends_.empty() ? 0 : static_cast<int64_t>(ends_.back()); }
  /// `key` says what the tokens were made from.
  Status Write(const std::filesystem::path& path, uint64_t key) const;

 private:
  bool wide_, weighted_;
  std::vector<uint64_t> ends_;
  std::vector<std::byte> tokens_;
  std::vector<float> weights_;
};

class TokenFile {
 public:
  /// Every size is checked against the file's. kCorrupt, kNotFound.
  static Result<TokenFile> Open(const std::filesystem::path& path);

  int64_t documents() const { return documents_; }
  int64_t tokens() const { return tokens_; }
  uint64_t key() const { return key_; }
  /// Of documents, tokens and weights, whatever they were made from and when. Reads all of the
  /// file.
  uint64_t ContentChecksum() const;
  bool weighted() const { return weights_ != nullptr; }
  int64_t Size(int64_t document) const { return End(document) - Begin(document); }
  /// Appends tokens [first, first + count) of a document; kCorrupt for an id outside the
  /// vocabulary.
  Status Read(int64_t document, int64_t first, int64_t count, int64_t vocab_size,
              std::vector<int32_t>& ids) const;
  /// Of the same tokens; all 1 where the file has none. kCorrupt for one that is negative or not
  /// finite.
  Result<std::vector<float>> Weights(int64_t document, int64_t first, int64_t count) const;

 private:
  TokenFile() = default;
  int64_t End(int64_t document) const;
  int64_t Begin(int64_t document) const { return document == 0 ? 0 : End(document - 1); }

  std::filesystem::path path_;
  MappedFile file_;
  int64_t documents_ = 0, tokens_ = 0, token_bytes_ = 2;
  uint64_t key_ = 0;
  const std::byte* ends_ = nullptr;
  const std::byte* ids_ = nullptr;
  const std::byte* weights_ = nullptr;
};

}  // namespace octet
