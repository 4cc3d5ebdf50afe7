#include "io/safetensors_header.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

namespace octet {
namespace {

constexpr size_t kMaxDims = 8;
constexpr size_t kMaxNameBytes = 4096;  // keeps messages that quote a name readable

// Receives nlohmann's parse events. Returning false stops the parse; `error_` then says why.
class HeaderEvents {
 public:
  using Json = nlohmann::json;

  explicit HeaderEvents(std::string_view where) : where_(where) {}

  bool null() { return Unexpected("null"); }
  bool boolean(bool) { return Unexpected("a boolean"); }
  bool number_float(double, const std::string&) { return Unexpected("a fraction"); }
  bool binary(Json::binary_t&) { return Unexpected("binary data"); }
  bool number_integer(int64_t value) {
    return value < 0 ? Unexpected("a negative number")
                     : number_unsigned(static_cast<uint64_t>(value));
  }

  bool number_unsigned(uint64_t value) {
    if (!in_array_) return Unexpected("a number");
    if (field_ == "shape") {
      if (entry_.shape.size() == kMaxDims) return Fail("more than {} dimensions", kMaxDims);
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        return Fail("dimension {}", value);
      entry_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (n_offsets_ == 2) return Fail("more than two data_offsets");
    (n_offsets_++ == 0 ? entry_.begin : entry_.end) = value;
    return true;
  }

  bool string(std::string& value) {
    if (depth_ == 2 && in_metadata_) {
      header_.metadata[field_] = value;
      return true;
    }
    if (depth_ != 2 || in_array_ || field_ != "dtype") return Unexpected("a string");
    entry_.dtype = value;
    return true;
  }

  bool start_object(size_t) {
    if (in_array_ || depth_ >= 2) return Unexpected("an object");
    ++depth_;
    if (depth_ == 2 && !in_metadata_) {
      entry_ = {};
      entry_.name = name_;
      n_offsets_ = 0;
      has_dtype_ = has_shape_ = has_offsets_ = false;
    }
    return true;
  }

  bool key(std::string& key) {
    if (key.size() > kMaxNameBytes) return Fail("a name of {} bytes after it", key.size());
    if (depth_ == 1) {
      name_ = key;
      in_metadata_ = key == "__metadata__";
      return true;
    }
    field_ = key;
    if (in_metadata_) return true;
    bool* const seen = key == "dtype"          ? &has_dtype_
                       : key == "shape"        ? &has_shape_
                       : key == "data_offsets" ? &has_offsets_
                                               : nullptr;
    if (seen == nullptr) return Fail("unknown field \"{}\"", key);
    if (std::exchange(*seen, true)) return Fail("field \"{}\" given twice", key);
    return true;
  }

  bool end_object() {
    if (depth_-- == 1 || in_metadata_) return true;
    if (!has_dtype_ || !has_shape_ || n_offsets_ != 2)
      return Fail("dtype, shape or the two data_offsets are missing");
    header_.entries.push_back(std::move(entry_));
    return true;
  }

  bool start_array(size_t) {
    if (depth_ != 2 || in_array_ || in_metadata_ || (field_ != "shape" && field_ != "data_offsets"))
      return Unexpected("an array");
    in_array_ = true;
    return true;
  }
  bool end_array() {
    in_array_ = false;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    if (error_.empty()) error_ = fmt::format("not valid JSON at byte {}", position);
    return false;
  }

  Result<SafetensorsHeader> Finish(bool parsed) {
    if (parsed && error_.empty()) return std::move(header_);
    return Err(ErrorCode::kCorrupt, "{}: header: {}", where_, error_);
  }

 private:
  template <class... Args>
  bool Fail(fmt::format_string<Args...> format, Args&&... args) {
    error_ = fmt::format("{}: ", name_) + fmt::format(format, std::forward<Args>(args)...);
    return false;
  }
  bool Unexpected(const char* what) {
    return Fail("{} where the format has none (field \"{}\")", what, field_);
  }

  std::string_view where_;
  SafetensorsHeader header_;
  std::string error_;
  int depth_ = 0;  // of objects: 1 in the header, 2 in an entry
  bool in_array_ = false;
  bool in_metadata_ = false;
  std::string name_, field_;
  SafetensorsEntry entry_;
  int n_offsets_ = 0;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
};

}  // namespace

Result<SafetensorsHeader> ParseSafetensorsHeader(std::string_view json, std::string_view where) {
  HeaderEvents events(where);
  const bool parsed = nlohmann::json::sax_parse(json, &events);
  return events.Finish(parsed);
}

}  // namespace octet
