#include "toml_reader.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <set>
#include <utility>

namespace octet::app {
namespace {

class Reader {
 public:
  explicit Reader(std::string_view where) : where_(where) {}

  Status Add(const toml::table& table) {
    for (const auto& [key, node] : table) {
      if (const toml::table* group = node.as_table(); group != nullptr) {
        OCTET_TRY(Add(*group));
        continue;
      }
      TomlItem item{std::string(key.str()), {}, node.is_array(), LineOf(node)};
      if (!seen_.insert(item.key).second)
        return Wrong(item.line, fmt::format("\"{}\" is given twice", item.key));
      OCTET_TRY(AddValues(node, item));
      items_.push_back(std::move(item));
    }
    return {};
  }

  std::vector<TomlItem> Take() { return std::move(items_); }

  tl::unexpected<Error> Wrong(int64_t line, std::string_view what) const {
    return Err(ErrorCode::kInvalidArgument, "{}:{}: {}", where_, line, what);
  }

  static int64_t LineOf(const toml::node& node) {
    return static_cast<int64_t>(node.source().begin.line);
  }

 private:
  Status AddValues(const toml::node& node, TomlItem& item) const {
    if (const toml::array* list = node.as_array(); list != nullptr) {
      for (const toml::node& element : *list) OCTET_TRY(AddValue(element, item));
      return {};
    }
    return AddValue(node, item);
  }

  Status AddValue(const toml::node& node, TomlItem& item) const {
    if (const auto text = node.value_exact<std::string>()) {
      item.values.push_back(*text);
    } else if (const auto number = node.value_exact<int64_t>()) {
      item.values.push_back(fmt::format("{}", *number));
    } else if (const auto real = node.value_exact<double>()) {
      item.values.push_back(fmt::format("{}", *real));
    } else if (const auto flag = node.value_exact<bool>()) {
      item.values.emplace_back(*flag ? "true" : "false");
    } else {
      return Wrong(
          LineOf(node),
          fmt::format("a value of {} is neither text, a number, true nor false", item.key));
    }
    return {};
  }

  std::string_view where_;
  std::set<std::string> seen_;
  std::vector<TomlItem> items_;
};

}  // namespace

Result<std::vector<TomlItem>> ReadToml(std::string_view text, std::string_view where) {
  Reader reader(where);
  try {
    OCTET_TRY(reader.Add(toml::parse(text)));
  } catch (const toml::parse_error& error) {
    return reader.Wrong(
        static_cast<int64_t>(error.source().begin.line),
        fmt::format("{}; expected KEY = VALUE, where VALUE is \"text in quotes\", a "
                    "number, true, false or a list of them",
                    error.description()));
  }
  return reader.Take();
}

}  // namespace octet::app
