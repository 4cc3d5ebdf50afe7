#include "line_reader.h"

#include <histedit.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "terminal.h"

#if defined(__SANITIZE_ADDRESS__)
#define OCTET_FINDS_LEAKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OCTET_FINDS_LEAKS 1
#endif
#endif
#ifdef OCTET_FINDS_LEAKS
extern "C" void __lsan_disable();
extern "C" void __lsan_enable();
#endif

namespace octet::app {
namespace {

/// While it lives, LeakSanitizer does not count what is allocated.
class KnownLeak {
 public:
#ifdef OCTET_FINDS_LEAKS
  KnownLeak() { __lsan_disable(); }
  ~KnownLeak() { __lsan_enable(); }
#else
  KnownLeak() {}
  ~KnownLeak() {}
#endif
  KnownLeak(const KnownLeak&) = delete;
  KnownLeak& operator=(const KnownLeak&) = delete;
};

constexpr int kHistoryLines = 1000;

}  // namespace

/// libedit's handles, and what its callbacks leave behind.
struct LineReader::Editor {
  EditLine* line = nullptr;
  History* history = nullptr;
  std::filesystem::path history_file;
  bool continued = false;
  bool interrupted = false;

  explicit Editor(std::filesystem::path file) : history_file(std::move(file)) {
    std::setlocale(LC_CTYPE, "");  // so that libedit counts UTF-8 characters and not bytes
    line = el_init("octet", stdin, stdout, stderr);
    history = history_init();
    HistEvent event;
    ::history(history, &event, H_SETSIZE, kHistoryLines);
    ::history(history, &event, H_SETUNIQUE, 1);
    if (!history_file.empty()) ::history(history, &event, H_LOAD, history_file.c_str());
    el_set(line, EL_CLIENTDATA, this);
    el_set(line, EL_PROMPT, &Prompt);
    el_set(line, EL_EDITOR, "emacs");
    el_set(line, EL_HIST, ::history, history);
    // Ctrl-C comes as a character while a line is edited, so that no signal meets libedit.
    el_set(line, EL_SETTY, "-d", "-isig", nullptr);
    {
      // libedit 3.1 never frees its copies of the name and the help text.
      const KnownLeak copies;
      el_set(line, EL_ADDFN, "octet-interrupt", "Give up this line", &OnInterrupt);
    }
    el_set(line, EL_BIND, "^C", "octet-interrupt", nullptr);
    el_set(line, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_source(line, nullptr);  // ~/.editrc
  }
  ~Editor() {
    history_end(history);
    el_end(line);
  }
  Editor(const Editor&) = delete;
  Editor& operator=(const Editor&) = delete;

  static char* Prompt(EditLine* line) {
    static char first[] = "> ", next[] = ". ";
    void* editor = nullptr;
    el_get(line, EL_CLIENTDATA, &editor);
    return static_cast<Editor*>(editor)->continued ? next : first;
  }

  static unsigned char OnInterrupt(EditLine* line, int) {
    void* editor = nullptr;
    el_get(line, EL_CLIENTDATA, &editor);
    static_cast<Editor*>(editor)->interrupted = true;
    return CC_NEWLINE;
  }

  void Remember(const std::string& text) {
    HistEvent event;
    ::history(history, &event, H_ENTER, text.c_str());
    if (history_file.empty()) return;
    ::history(history, &event, H_SAVE, history_file.c_str());
    std::error_code ignored;
    std::filesystem::permissions(
        history_file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write,
        ignored);
  }
};

LineReader::LineReader(const std::filesystem::path& history_file) {
  if (StdinIsTerminal() && StdoutIsTerminal()) editor_ = std::make_unique<Editor>(history_file);
}

LineReader::~LineReader() = default;

bool LineReader::interactive() const { return editor_ != nullptr; }

LineReader::Outcome LineReader::ReadPhysical(bool continued, std::string& line) {
  line.clear();
  if (!editor_) return std::getline(std::cin, line) ? Outcome::kLine : Outcome::kEnd;
  editor_->continued = continued;
  editor_->interrupted = false;
  int count = 0;
  const char* text = el_gets(editor_->line, &count);
  if (editor_->interrupted) {
    std::fputs("^C\n", stdout);
    std::fflush(stdout);
    if (text != nullptr) line.assign(text, static_cast<size_t>(count));
    return Outcome::kInterrupted;
  }
  if (text == nullptr || count <= 0) return Outcome::kEnd;
  line.assign(text, static_cast<size_t>(count));
  if (line.ends_with('\n')) line.pop_back();
  return Outcome::kLine;
}

LineReader::Outcome LineReader::Read(std::string& line) {
  line.clear();
  std::string part;
  bool continued = false;
  while (true) {
    const Outcome outcome = ReadPhysical(continued, part);
    if (outcome == Outcome::kInterrupted) {
      line += part;
      return outcome;
    }
    if (outcome == Outcome::kEnd) {
      if (!continued) return outcome;
      break;  // what was typed before counts
    }
    continued = part.ends_with('\\');
    if (continued) part.back() = '\n';
    line += part;
    if (!continued) break;
  }
  if (editor_ && line.find_first_not_of(" \t\n") != std::string::npos) editor_->Remember(line);
  return Outcome::kLine;
}

std::filesystem::path ChatHistoryFile() {
  std::filesystem::path state;
  if (const char* xdg = std::getenv("XDG_STATE_HOME"); xdg != nullptr && *xdg != '\0') {
    state = xdg;
  } else if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    state = std::filesystem::path(home) / ".local" / "state";
  } else {
    return {};
  }
  const std::filesystem::path folder = state / "octet";
  std::error_code error;
  if (std::filesystem::create_directories(folder, error)) {
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
  }
  if (!std::filesystem::is_directory(folder, error)) return {};
  return folder / "chat_history";
}

}  // namespace octet::app
