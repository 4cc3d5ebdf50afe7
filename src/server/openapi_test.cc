#include "server/openapi.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "server/routes.h"

namespace octet {
namespace {

nlohmann::json Document() { return nlohmann::json::parse(OpenApiDocument()); }

TEST(OpenApi, HasEveryRouteAndNoOther) {
  std::set<std::string> routes = {"get /v1/models/{model}"}, documented;
  for (const auto& [method, path] : KnownRoutes()) {
    routes.insert((method == "GET" ? "get " : "post ") + std::string(path));
  }
  const nlohmann::json document = Document();
  for (const auto& [path, methods] : document["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) documented.insert(method + " " + path);
  }
  EXPECT_EQ(documented, routes);
}

void Collect(const nlohmann::json& at, std::set<std::string>& names) {
  if (at.is_object() && at.contains("properties")) {
    for (const auto& [name, schema] : at["properties"].items()) names.insert(name);
  }
  if (!at.is_structured()) return;
  for (const nlohmann::json& child : at) Collect(child, names);
}

/// Names are found in the readers' sources: a new field cannot be forgotten here.
TEST(OpenApi, HasEveryFieldThatReadersAskFor) {
  std::set<std::string> documented;
  Collect(Document()["components"]["schemas"], documented);
  // Refused, or read where nothing documented stands.
  const std::set<std::string> others = {"tool_calls"};
  const std::regex asked(
      R"re((?:fields|inner)\.(?:Bool|Integer|Number|Text|Texts|Find)\("(\w+)"|Find\([^"()]*, "(\w+)"\)|ReadMaxTokens\(fields, "(\w+)")re");
  int found = 0;
  for (const char* file : {"generation_request.cc", "sampling_fields.cc", "octet_fields.cc",
                           "answer_shape.cc", "embeddings.cc", "text_routes.cc"}) {
    std::ifstream in(std::string(OCTET_SOURCE_DIR) + "/src/server/" + file);
    ASSERT_TRUE(in) << file;
    const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    for (std::sregex_iterator it(text.begin(), text.end(), asked), end; it != end; ++it) {
      const std::string name = (*it)[1].str() + (*it)[2].str() + (*it)[3].str();
      ++found;
      EXPECT_TRUE(documented.contains(name) || others.contains(name)) << file << ": " << name;
    }
  }
  EXPECT_GT(found, 60);
}

TEST(OpenApi, RefersOnlyToWhatIsThere) {
  const nlohmann::json document = Document();
  const std::string text(OpenApiDocument());
  const std::regex reference("\"#/components/schemas/(\\w+)\"");
  for (std::sregex_iterator it(text.begin(), text.end(), reference), end; it != end; ++it) {
    EXPECT_TRUE(document["components"]["schemas"].contains((*it)[1].str())) << (*it)[1];
  }
}

}  // namespace
}  // namespace octet
