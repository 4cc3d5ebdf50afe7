#include "engine/prefix_file.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/checksum.h"
#include "base/file.h"
#include "base/mapped_file.h"

namespace octet {
namespace {

template <class T>
std::span<const std::byte> BytesOf(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

uint64_t HeaderChecksum(const PrefixFileHeader& header) {
  return Checksum(BytesOf(header).first(offsetof(PrefixFileHeader, checksum)));
}

uint64_t Mix(uint64_t seed, const WeightMatrix& matrix) {
  // Few, as each may be a page that is read from a disk; other weights differ everywhere.
  constexpr int64_t kLine = 64, kLines = 16;
  const int64_t size = matrix.bytes();
  const int64_t facts[] = {static_cast<int64_t>(matrix.format), matrix.rows, matrix.cols};
  seed = Checksum(std::as_bytes(std::span(facts)), seed);
  if (const AdapterMatrix* adapter = matrix.adapter) {
    const auto n = [](int64_t a, int64_t b) { return static_cast<size_t>(a * b); };
    seed = Checksum(BytesOf(adapter->scale), seed);
    seed = Checksum(std::as_bytes(std::span(adapter->a, n(adapter->rank, matrix.cols))), seed);
    seed = Checksum(std::as_bytes(std::span(adapter->b, n(matrix.rows, adapter->rank))), seed);
  }
  const int64_t step = std::max<int64_t>(kLine, size / kLines / kLine * kLine);
  for (int64_t at = 0; at < size; at += step) {
    const std::span line(matrix.data + at, static_cast<size_t>(std::min(kLine, size - at)));
    seed = Checksum(line, seed);
  }
  return seed;
}

uint64_t Mix(uint64_t seed, View<const float, 1> values) {
  return Checksum(std::as_bytes(std::span(values.data, static_cast<size_t>(values.shape[0]))),
                  seed);
}

Status CheckHeader(const std::string& path, const PrefixFileHeader& got,
                   const PrefixFileHeader& expected) {
  if (std::memcmp(got.magic, expected.magic, sizeof got.magic) != 0) {
    return Err(ErrorCode::kCorrupt, "{} is not a file of prefixes of this version", path);
  }
  if (got.checksum != HeaderChecksum(got)) {
    return Err(ErrorCode::kCorrupt, "{}: the header is damaged", path);
  }
  if (got.model != expected.model) {
    return Err(ErrorCode::kInvalidArgument, "{} is of another model", path);
  }
  if (got.arithmetic != expected.arithmetic || got.isa != expected.isa) {
    return Err(ErrorCode::kInvalidArgument,
               "{} was computed with other instructions or arithmetic, whose results may differ in "
               "their last bits",
               path);
  }
  if (got.format != expected.format || got.page_tokens != expected.page_tokens ||
      got.page_bytes != expected.page_bytes) {
    return Err(ErrorCode::kInvalidArgument,
               "{} has keys and values of another type or pages of another size", path);
  }
  return {};
}

/// At the end of a file.
struct Footer {
  uint64_t pages = 0, checksum = 0;
};

Status CheckFooter(ByteReader& reader, uint64_t pages) {
  OCTET_ASSIGN(const auto footer, reader.Read<Footer>("the number of pages"));
  if (footer.pages == pages && footer.checksum == Checksum(BytesOf(footer.pages))) return {};
  return Err(ErrorCode::kCorrupt, "the end is damaged, or pages are missing before it");
}

/// One page of the file.
struct Record {
  uint64_t before = 0, hash = 0;
  std::vector<int32_t> tokens;
  std::span<const std::byte> content;
};

Result<Record> ReadRecord(ByteReader& reader, const PrefixFileHeader& header) {
  const uint64_t size = 16 + header.page_tokens * sizeof(int32_t) + header.page_bytes;
  OCTET_ASSIGN(const auto bytes, reader.Take(size, "a page"));
  OCTET_ASSIGN(const uint64_t checksum, reader.Read<uint64_t>("a page's checksum"));
  if (checksum != Checksum(bytes)) {
    return Err(ErrorCode::kCorrupt, "the page at byte {} is damaged", reader.offset() - 8 - size);
  }
  Record record;
  record.tokens.resize(header.page_tokens);
  const size_t token_bytes = record.tokens.size() * sizeof(int32_t);
  std::memcpy(&record.before, bytes.data(), 8);
  std::memcpy(&record.hash, bytes.data() + 8, 8);
  std::memcpy(record.tokens.data(), bytes.data() + 16, token_bytes);
  record.content = bytes.subspan(16 + token_bytes);
  if (record.hash != PrefixCache::Hash(record.before, record.tokens)) {
    return Err(ErrorCode::kCorrupt, "the page at byte {} contradicts itself",
               reader.offset() - 8 - size);
  }
  return record;
}

}  // namespace

uint64_t ModelFingerprint(const Model& model) {
  const ModelConfig& c = model.config();
  const int64_t facts[] = {c.n_layers,       c.n_heads,
                           c.n_kv_heads,     c.head_dim,
                           c.sliding_window, c.n_experts_per_token,
                           c.vocab_size,     static_cast<int64_t>(c.rope_pairing)};
  const double floats[] = {c.rope_theta, c.rope_scale, c.norm_eps};
  uint64_t sum = Checksum(std::as_bytes(std::span(facts)));
  sum = Checksum(std::as_bytes(std::span(floats)), sum);
  sum = Mix(sum, model.weights().embedding);
  for (const LayerWeights& layer : model.weights().layers) {
    sum = Mix(Mix(sum, layer.attn_norm), layer.ffn_norm);
    for (const WeightMatrix* matrix : {&layer.wq, &layer.wk, &layer.wv, &layer.wo}) {
      sum = Mix(sum, *matrix);
    }
    if (layer.router.data != nullptr) sum = Mix(sum, layer.router);
    if (layer.router_bias.data != nullptr) sum = Mix(sum, layer.router_bias);
    for (const Expert& expert : layer.experts) {
      sum = Mix(Mix(Mix(sum, expert.w1), expert.w2), expert.w3);
    }
  }
  return sum;
}

PrefixRecord CopyPrefix(const PrefixCache::Page& page, KvCache& cache) {
  const std::span<const std::byte> content = cache.PageBytes(page.page);
  return {page.before,
          page.hash,
          {page.tokens.begin(), page.tokens.end()},
          {content.begin(), content.end()}};
}

Result<PrefixFileWriter> PrefixFileWriter::Create(const std::filesystem::path& path,
                                                  PrefixFileHeader header) {
  header.checksum = HeaderChecksum(header);
  OCTET_ASSIGN(AtomicFileWriter file, AtomicFileWriter::Create(path));
  // It holds what clients asked, as ids.
  std::error_code error;
  std::filesystem::permissions(
      AtomicFileWriter::PartialPath(path),
      std::filesystem::perms::owner_read | std::filesystem::perms::owner_write, error);
  if (error) return Err(ErrorCode::kIo, "{}: {}", path.string(), error.message());
  OCTET_TRY(file.Write(BytesOf(header)));
  return PrefixFileWriter(std::move(file));
}

Status PrefixFileWriter::Add(const PrefixRecord& record) {
  bytes_.clear();
  const auto append = [&](std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  };
  append(BytesOf(record.before));
  append(BytesOf(record.hash));
  append(std::as_bytes(std::span(record.tokens)));
  append(record.content);
  const uint64_t checksum = Checksum(bytes_);
  append(BytesOf(checksum));
  ++pages_;
  return file_.Write(bytes_);
}

Result<int64_t> PrefixFileWriter::Commit() {
  const Footer footer{pages_, Checksum(BytesOf(pages_))};
  OCTET_TRY(file_.Write(BytesOf(footer)));
  OCTET_TRY(file_.Commit());
  return static_cast<int64_t>(pages_);
}

Result<int64_t> WritePrefixFile(const std::filesystem::path& path, const PrefixFileHeader& header,
                                const PrefixCache& prefixes, KvCache& cache) {
  OCTET_ASSIGN(PrefixFileWriter file, PrefixFileWriter::Create(path, header));
  for (const PrefixCache::Page& page : prefixes.Pages())
    OCTET_TRY(file.Add(CopyPrefix(page, cache)));
  return file.Commit();
}

Result<int64_t> ReadPrefixFile(const std::filesystem::path& path, ExpectedPrefixes expected,
                               PrefixCache& prefixes, KvCache& cache) {
  OCTET_ASSIGN(const MappedFile file, MappedFile::Open(path));
  const std::string name = path.string();
  ByteReader reader(file.bytes(), name);
  OCTET_ASSIGN(const auto header, reader.Read<PrefixFileHeader>("the header"));
  OCTET_TRY(CheckHeader(name, header, expected.header));
  std::vector<uint64_t> added;
  Status status;
  for (uint64_t n = 0; status && cache.free_pages() > 0; ++n) {
    if (reader.remaining() <= sizeof(Footer)) {
      status = CheckFooter(reader, n);
      if (!status) status = Err(ErrorCode::kCorrupt, "{}: {}", name, status.error().message);
      break;
    }
    const auto record = ReadRecord(reader, header);
    if (!record) {
      status = Err(ErrorCode::kCorrupt, "{}: {}", name, record.error().message);
      break;
    }
    const int32_t page = cache.TakePage();
    const bool fits = record->before == 0 || prefixes.Has(record->before) ||
                      std::ranges::find(expected.roots, record->before) != expected.roots.end();
    if (!fits || !prefixes.Insert(record->before, record->hash, record->tokens, page)) {
      cache.ReleasePage(page);  // known already, or what came before it is not
      continue;
    }
    std::ranges::copy(record->content, cache.PageBytes(page).begin());
    added.push_back(record->hash);
  }
  const auto count = static_cast<int64_t>(added.size());
  // The file's last page is the longest unused.
  for (; !added.empty(); added.pop_back()) prefixes.Release(added.back());
  if (!status) return tl::unexpected(status.error());
  return count;
}

}  // namespace octet
