#include "server/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

// Defined in page_data.S: the files, compressed with gzip; empty where the page was not built.
extern "C" {
extern const char octet_page_html_begin[], octet_page_html_end[];
extern const char octet_page_js_begin[], octet_page_js_end[];
extern const char octet_page_css_begin[], octet_page_css_end[];
extern const char octet_page_icon_begin[], octet_page_icon_end[];
extern const char octet_page_ui_font_begin[], octet_page_ui_font_end[];
extern const char octet_page_text_font_begin[], octet_page_text_font_end[];
extern const char octet_page_licences_begin[], octet_page_licences_end[];
}

namespace octet {
namespace {

struct PageFile {
  std::string_view path, type;
  const char* begin;
  const char* end;
  std::string_view bytes() const { return {begin, static_cast<size_t>(end - begin)}; }
};

const PageFile kFiles[] = {
    {"/", "text/html; charset=utf-8", octet_page_html_begin, octet_page_html_end},
    {"/page.js", "text/javascript; charset=utf-8", octet_page_js_begin, octet_page_js_end},
    {"/page.css", "text/css; charset=utf-8", octet_page_css_begin, octet_page_css_end},
    {"/icon.svg", "image/svg+xml", octet_page_icon_begin, octet_page_icon_end},
    {"/ui.woff2", "font/woff2", octet_page_ui_font_begin, octet_page_ui_font_end},
    {"/text.woff2", "font/woff2", octet_page_text_font_begin, octet_page_text_font_end},
    {"/licences.txt", "text/plain; charset=utf-8", octet_page_licences_begin,
     octet_page_licences_end},
};

/// Nothing but the page's own files and this server's answers; no inline script, no HTML from text.
constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; font-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

constexpr std::string_view kNoPage =
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Octet</title>"
    "<h1>Octet</h1><p>The server works; the chat page is not in this program. It is made from the "
    "folder web/ when Node.js (18 or later) and npm are there while Octet is built: install them, "
    "then run cmake and the build again.</p><p>Clients of OpenAI's and Anthropic's interfaces use "
    "the address of this server with /v1; docs/guides/serve.md tells more.</p></html>\n";

/// FNV-1a (Fowler, Noll, Vo): names a version, nobody gains by making two alike.
std::string Tag(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("\"{:016x}\"", hash);
}

}  // namespace

HttpResponse PageResponse(const HttpRequest& request) {
  const PageFile& file =
      *std::ranges::find(kFiles, std::string_view(request.path), &PageFile::path);
  HttpResponse response;
  response.content_type = file.type;
  response.headers = {{"x-content-type-options", "nosniff"},
                      {"referrer-policy", "no-referrer"},
                      {"content-security-policy", std::string(kPolicy)},
                      {"cache-control", "no-cache"}};
  if (file.bytes().empty()) {
    response.status = file.path == "/" ? 200 : 404;
    if (file.path == "/") response.body = kNoPage;
    return response;
  }
  const std::string tag = Tag(file.bytes());
  response.headers.emplace_back("etag", tag);
  if (request.Header("if-none-match").find(tag) != std::string_view::npos) {
    response.status = 304;
    return response;
  }
  response.headers.emplace_back("content-encoding", "gzip");
  response.body = file.bytes();
  return response;
}

}  // namespace octet
