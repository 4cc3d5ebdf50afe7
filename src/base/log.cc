#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include <string_view>

namespace octet {

bool SetUpLogging(const char* level) {
  static const bool once = [] {
    auto logger = spdlog::get("octet");
    if (!logger) logger = spdlog::stderr_color_st("octet");
    logger->set_pattern("%^%l%$: %v");
    spdlog::set_default_logger(std::move(logger));
    return true;
  }();
  (void)once;
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && std::string_view(level) != "off") return false;
  spdlog::set_level(parsed);
  return true;
}

}  // namespace octet
