// Bytes from a client's socket, in two pieces, several requests one after another.
#include <cstddef>
#include <cstdint>
#include <string>

#include "server/http_parser.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t cut = data[0] * size / 256;
  const std::string all(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string bytes = all.substr(0, cut);
  size_t seen = 0;
  for (int piece = 0; piece < 2; ++piece) {
    while (true) {
      octet::HttpParser parser({1024, 4096});
      const auto state = parser.Feed(bytes);
      if (state == octet::HttpParser::State::kError) return 0;
      if (state == octet::HttpParser::State::kNeedsMore) break;
      const octet::HttpRequest request = parser.Take();
      seen += request.path.size() + request.headers.size() + request.body.size();
      seen += request.Header("host").size();
    }
    if (cut < all.size()) bytes += all.substr(cut);
  }
  [[maybe_unused]] volatile size_t keep = seen;
  return 0;
}
