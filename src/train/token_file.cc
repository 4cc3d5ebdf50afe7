#include "train/token_file.h"

#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/checksum.h"
#include "base/file.h"

namespace octet {
namespace {

constexpr std::string_view kMagic = "OCTTOK02";
constexpr uint64_t kHeaderBytes = 40;

template <class T>
std::span<const std::byte> BytesOf(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

uint64_t ReadU64(const std::byte* at) {
  uint64_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace

void TokenFileWriter::Add(std::span<const int32_t> ids, std::span<const float> weights) {
  CHECK(weights.size() == (weighted_ ? ids.size() : 0));
  for (const int32_t id : ids) {
    const auto wide = static_cast<uint32_t>(id);
    const auto narrow = static_cast<uint16_t>(id);
    const auto bytes = wide_ ? BytesOf(wide) : BytesOf(narrow);
    tokens_.insert(tokens_.end(), bytes.begin(), bytes.end());
  }
  weights_.insert(weights_.end(), weights.begin(), weights.end());
  ends_.push_back(static_cast<uint64_t>(tokens()) + ids.size());
}

Status TokenFileWriter::Write(const std::filesystem::path& path, uint64_t key) const {
  OCTET_ASSIGN(AtomicFileWriter file, AtomicFileWriter::Create(path));
  OCTET_TRY(file.Write(kMagic));
  const uint32_t token_bytes = wide_ ? 4 : 2, flags = weighted_ ? 1 : 0;
  const uint64_t documents = ends_.size(), tokens = static_cast<uint64_t>(this->tokens());
  OCTET_TRY(file.Write(BytesOf(token_bytes)));
  OCTET_TRY(file.Write(BytesOf(flags)));
  OCTET_TRY(file.Write(BytesOf(documents)));
  OCTET_TRY(file.Write(BytesOf(tokens)));
  OCTET_TRY(file.Write(BytesOf(key)));
  OCTET_TRY(file.Write(std::as_bytes(std::span(ends_))));
  OCTET_TRY(file.Write(std::span<const std::byte>(tokens_)));
  OCTET_TRY(file.Write(std::as_bytes(std::span(weights_))));
  return file.Commit();
}

Result<TokenFile> TokenFile::Open(const std::filesystem::path& path) {
  TokenFile out;
  out.path_ = path;
  OCTET_ASSIGN(out.file_, MappedFile::Open(path));
  ByteReader reader(out.file_.bytes(), path.string());
  OCTET_ASSIGN(const auto magic, reader.Take(kMagic.size(), "the first bytes"));
  if (std::memcmp(magic.data(), kMagic.data(), kMagic.size()) != 0) {
    return Err(ErrorCode::kCorrupt,
               "{}: not a file of tokens of this version; delete it and it is "
               "made again",
               path.string());
  }
  OCTET_ASSIGN(const auto token_bytes, reader.Read<uint32_t>("bytes a token"));
  OCTET_ASSIGN(const auto flags, reader.Read<uint32_t>("flags"));
  OCTET_ASSIGN(const auto documents, reader.Read<uint64_t>("documents"));
  OCTET_ASSIGN(const auto tokens, reader.Read<uint64_t>("tokens"));
  OCTET_ASSIGN(out.key_, reader.Read<uint64_t>("key"));
  const uint64_t size = out.file_.bytes().size();
  const uint64_t a_token = token_bytes + (flags & 1) * sizeof(float);
  const bool plausible = (token_bytes == 2 || token_bytes == 4) && flags <= 1 &&
                         documents <= size / 8 && tokens <= size / a_token;
  if (!plausible || size != kHeaderBytes + documents * 8 + tokens * a_token) {
    return Err(ErrorCode::kCorrupt,
               "{}: its header does not fit its {} bytes; delete it and it is "
               "made again",
               path.string(), size);
  }
  out.documents_ = static_cast<int64_t>(documents);
  out.tokens_ = static_cast<int64_t>(tokens);
  out.token_bytes_ = token_bytes;
  out.ends_ = out.file_.bytes().data() + kHeaderBytes;
  out.ids_ = out.ends_ + documents * 8;
  if ((flags & 1) != 0) out.weights_ = out.ids_ + tokens * token_bytes;
  uint64_t last = 0;
  for (uint64_t i = 0; i < documents; ++i) {
    const uint64_t end = ReadU64(out.ends_ + i * 8);
    if (end < last || end > tokens) {
      return Err(ErrorCode::kCorrupt,
                 "{}: document {} ends at token {} of {}; delete the file and "
                 "it is made again",
                 path.string(), i, end, tokens);
    }
    last = end;
  }
  return out;
}

int64_t TokenFile::End(int64_t document) const {
  return static_cast<int64_t>(ReadU64(ends_ + document * 8));
}

uint64_t TokenFile::ContentChecksum() const {
  return Checksum(file_.bytes().subspan(kHeaderBytes));
}

Status TokenFile::Read(int64_t document, int64_t first, int64_t count, int64_t vocab_size,
                       std::vector<int32_t>& ids) const {
  CHECK(document < documents_ && first + count <= Size(document));
  const std::byte* at = ids_ + (Begin(document) + first) * token_bytes_;
  for (int64_t i = 0; i < count; ++i, at += token_bytes_) {
    uint32_t id = 0;
    std::memcpy(&id, at, static_cast<size_t>(token_bytes_));
    if (static_cast<int64_t>(id) >= vocab_size) {
      return Err(ErrorCode::kCorrupt,
                 "{}: document {} holds token {}, the vocabulary has {}; delete "
                 "the file and it is made again",
                 path_.string(), document, id, vocab_size);
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  return {};
}

Result<std::vector<float>> TokenFile::Weights(int64_t document, int64_t first,
                                              int64_t count) const {
  std::vector<float> weights(static_cast<size_t>(count), 1.0f);
  if (weights_ == nullptr) return weights;
  const auto at = static_cast<size_t>(Begin(document) + first) * sizeof(float);
  std::memcpy(weights.data(), weights_ + at, weights.size() * sizeof(float));
  for (const float weight : weights) {
    if (!(weight >= 0) || !std::isfinite(weight)) {
      return Err(ErrorCode::kCorrupt,
                 "{}: document {} holds the weight {}; delete the file and it is made again",
                 path_.string(), document, weight);
    }
  }
  return weights;
}

}  // namespace octet
