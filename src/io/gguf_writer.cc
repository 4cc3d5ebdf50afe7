#include "io/gguf_writer.h"

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/mapped_file.h"
#include "io/gguf_part.h"

namespace octet {
namespace {

class HeaderEncoder {
 public:
  std::string Encode(GgufMetadata metadata, std::span<const TensorInfo> tensors) {
    // An alignment of another file does not hold here.
    metadata.values().erase(gguf::kAlignmentKey);
    const uint64_t alignment = GgufAlignment(tensors);
    if (alignment != gguf::kDefaultAlignment)
      metadata.Set(gguf::kAlignmentKey, alignment, GgufType::kUint32);
    if (const auto* layouts = metadata.Strings(kPackedLayoutsKey)) layouts_ = *layouts;
    Put(gguf::kMagic);
    Put(gguf::kVersion);
    Put(uint64_t{tensors.size()});
    Put(uint64_t{metadata.values().size()});
    for (const auto& [key, value] : metadata.values()) {
      PutString(key);
      std::visit([&, type = metadata.TypeOf(key)](const auto& v) { PutValue(v, type); }, value);
    }
    uint64_t offset = 0;
    for (const TensorInfo& info : tensors) {
      PutTensor(info, offset);
      offset += GgufPaddedBytes(info.bytes, alignment);
    }
    out_.resize(GgufPaddedBytes(out_.size(), alignment), '\0');
    return std::move(out_);
  }

 private:
  template <class T>
  void Put(T value) {
    std::array<char, sizeof(T)> raw;
    std::memcpy(raw.data(), &value, sizeof(T));
    out_.append(raw.data(), raw.size());
  }
  void PutString(std::string_view text) {
    Put(uint64_t{text.size()});
    out_ += text;
  }
  void PutType(GgufType type) { Put(static_cast<uint32_t>(type)); }

  /// A number in the width its type says.
  template <class T>
  void PutNumber(T value, GgufType type) {
    switch (type) {
      case GgufType::kUint8:
      case GgufType::kInt8:
      case GgufType::kBool:
        return Put(static_cast<uint8_t>(value));
      case GgufType::kUint16:
      case GgufType::kInt16:
        return Put(static_cast<uint16_t>(value));
      case GgufType::kUint32:
      case GgufType::kInt32:
        return Put(static_cast<uint32_t>(value));
      case GgufType::kUint64:
      case GgufType::kInt64:
        return Put(static_cast<uint64_t>(value));
      case GgufType::kFloat32:
        return Put(static_cast<float>(value));
      case GgufType::kFloat64:
        return Put(static_cast<double>(value));
      case GgufType::kString:
      case GgufType::kArray:
        break;
    }
    CHECK(!"a number with the type of a string");
  }

  template <class T>
  void PutValue(const T& value, GgufType type) {
    PutType(type);
    PutNumber(value, type);
  }
  void PutValue(const std::string& value, GgufType type) {
    PutType(type);
    PutString(value);
  }
  template <class T>
  void PutValue(const std::vector<T>& values, GgufType type) {
    PutType(GgufType::kArray);
    PutType(type);
    Put(uint64_t{values.size()});
    for (const T& value : values) {
      if constexpr (std::is_same_v<T, std::string>) {
        PutString(value);
      } else {
        PutNumber(value, type);
      }
    }
  }

  void PutTensor(const TensorInfo& info, uint64_t offset) {
    PutString(info.name);
    Put(static_cast<uint32_t>(info.shape.size()));
    for (auto size = info.shape.rbegin(); size != info.shape.rend(); ++size) {
      Put(static_cast<uint64_t>(*size));
    }
    Put(TypeOf(info));
    Put(offset);
  }

  uint32_t TypeOf(const TensorInfo& info) const {
    const uint32_t type = Info(info.format).ggml_type;
    if (info.layout == Layout::kRowMajor) return type;
    const auto layout = std::find(layouts_.begin(), layouts_.end(), LayoutName(info.layout));
    CHECK(layout != layouts_.end());
    return gguf::kPackedType + 256 * static_cast<uint32_t>(layout - layouts_.begin()) + type;
  }

  std::vector<std::string> layouts_;  // of a packed file
  std::string out_;
};

}  // namespace

uint64_t GgufAlignment(std::span<const TensorInfo> tensors) {
  const bool packed = std::any_of(tensors.begin(), tensors.end(), [](const TensorInfo& info) {
    return info.layout != Layout::kRowMajor;
  });
  return packed ? gguf::kPackedAlignment : gguf::kDefaultAlignment;
}

uint64_t GgufPaddedBytes(uint64_t tensor_bytes, uint64_t alignment) {
  return (tensor_bytes + alignment - 1) / alignment * alignment;
}

std::string EncodeGgufHeader(const GgufMetadata& metadata, std::span<const TensorInfo> tensors) {
  return HeaderEncoder().Encode(metadata, tensors);
}

Result<GgufWriter> GgufWriter::Create(const std::filesystem::path& path,
                                      const GgufMetadata& metadata, std::vector<TensorInfo> tensors,
                                      bool resume) {
  const std::string header = EncodeGgufHeader(metadata, tensors);
  const auto partial = AtomicFileWriter::PartialPath(path);
  bool header_there = false;
  if (resume && std::filesystem::exists(partial)) {
    OCTET_ASSIGN(const MappedFile old, MappedFile::Open(partial));
    const auto old_bytes = old.bytes();
    const size_t common = std::min(old_bytes.size(), header.size());
    if (common > 0 && std::memcmp(old_bytes.data(), header.data(), common) != 0) {
      return Err(ErrorCode::kInvalidArgument,
                 "{}: was begun from another model or with other options, so it cannot be "
                 "continued; start over or remove it",
                 partial.string());
    }
    header_there = old_bytes.size() >= header.size();
  }
  GgufWriter writer;
  writer.path_ = path;
  writer.tensors_ = std::move(tensors);
  writer.alignment_ = GgufAlignment(writer.tensors_);
  OCTET_ASSIGN(writer.file_, AtomicFileWriter::Create(path, /*resume=*/true));
  if (header_there) {
    OCTET_TRY(writer.ContinueAfter(header.size()));
  } else {
    OCTET_TRY(writer.file_.Truncate(0));
    OCTET_TRY(writer.file_.Write(header));
  }
  return writer;
}

Status GgufWriter::ContinueAfter(uint64_t header_bytes) {
  uint64_t end = header_bytes;
  while (next_ < tensors_.size()) {
    const uint64_t next_end = end + GgufPaddedBytes(tensors_[next_].bytes, alignment_);
    if (next_end > file_.offset()) break;
    end = next_end;
    ++next_;
  }
  return file_.Truncate(end);
}

Status GgufWriter::Append(std::span<const std::byte> bytes) {
  CHECK(next_ < tensors_.size() && bytes.size() <= tensors_[next_].bytes - written_);
  OCTET_TRY(file_.Write(bytes));
  written_ += bytes.size();
  const uint64_t size = tensors_[next_].bytes;
  if (written_ < size) return {};
  static constexpr std::array<std::byte, gguf::kPackedAlignment> kZeros = {};
  OCTET_TRY(file_.Write(std::span(kZeros).first(GgufPaddedBytes(size, alignment_) - size)));
  written_ = 0;
  ++next_;
  return {};
}

Status GgufWriter::Commit() {
  if (next_ != tensors_.size()) {
    return Err(ErrorCode::kInternal, "{}: {} of {} tensors were written", path_.string(), next_,
               tensors_.size());
  }
  return file_.Commit();
}

}  // namespace octet
