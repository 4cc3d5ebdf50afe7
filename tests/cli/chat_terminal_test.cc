// octet chat on a terminal: a pseudo-terminal whose other end types.
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "support/small_model.h"
#include "support/temp_folder.h"

namespace octet {
namespace {

class Terminal {
 public:
  explicit Terminal(std::vector<std::string> arguments, const std::filesystem::path& state) {
    pid_ = forkpty(&terminal_, nullptr, nullptr, nullptr);
    if (pid_ == -1) ADD_FAILURE() << "forkpty: " << std::strerror(errno);
    if (pid_ != 0) return;
    setenv("XDG_STATE_HOME", state.c_str(), 1);
    setenv("TERM", "dumb", 1);
    setenv("OCTET_MODEL", testing::SmallModelPath().c_str(), 1);
    arguments.insert(arguments.begin(), {OCTET_BINARY, "chat"});
    std::vector<char*> raw;
    for (std::string& argument : arguments) raw.push_back(argument.data());
    raw.push_back(nullptr);
    execv(OCTET_BINARY, raw.data());
    _exit(127);
  }
  ~Terminal() {
    if (pid_ <= 0) return;  // kill(-1) would reach every process there is
    if (!waited_) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(terminal_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  /// Waits a moment first: libedit prints its prompt before it takes the terminal over, and a
  /// Ctrl-C in between is still a signal.
  void Type(const std::string& keys) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    ASSERT_EQ(write(terminal_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }

  /// Reads until `text` was printed after what the last call found.
  bool WaitFor(const std::string& text) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (true) {
      if (const size_t at = printed_.find(text, seen_); at != std::string::npos) {
        seen_ = at + text.size();
        return true;
      }
      if (std::chrono::steady_clock::now() > end || !ReadSome()) {
        ADD_FAILURE() << "waited for \"" << text << "\" in:\n" << printed_;
        return false;
      }
    }
  }

  /// The exit code, once the program has ended.
  int Wait() {
    while (ReadSome()) {
    }
    int status = 0;
    waitpid(pid_, &status, 0);
    waited_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  bool ReadSome() {
    pollfd wait = {terminal_, POLLIN, 0};
    if (poll(&wait, 1, 20000) <= 0) return false;
    char buffer[4096];
    const ssize_t n = read(terminal_, buffer, sizeof buffer);
    if (n <= 0) return false;
    printed_.append(buffer, static_cast<size_t>(n));
    return true;
  }

  int terminal_ = -1;
  pid_t pid_ = -1;
  bool waited_ = false;
  std::string printed_;
  size_t seen_ = 0;
};

constexpr char kControlC[] = "\x03";
constexpr char kControlD[] = "\x04";

// A bare chroot or container may have no pseudo-terminals.
class ChatTerminal : public ::testing::Test {
 protected:
  void SetUp() override {
    int controller = -1, terminal = -1;
    if (openpty(&controller, &terminal, nullptr, nullptr, nullptr) != 0) {
      GTEST_SKIP() << "no pseudo-terminal here: " << std::strerror(errno);
    }
    close(controller);
    close(terminal);
  }
};

TEST_F(ChatTerminal, AnswersKeepsAHistoryAndEndsAtControlD) {
  const testing::TempFolder state;
  Terminal chat({"--temp", "0", "-n", "27"}, state.path());
  ASSERT_TRUE(chat.WaitFor("> "));
  chat.Type("Once upon a time\r");
  ASSERT_TRUE(chat.WaitFor("She loved to play outside in the park."));
  ASSERT_TRUE(chat.WaitFor("> "));
  chat.Type(kControlD);
  EXPECT_EQ(chat.Wait(), 0);
  std::ifstream history(state / "octet/chat_history");
  std::stringstream content;
  content << history.rdbuf();
  EXPECT_NE(content.str().find("Once"), std::string::npos);
}

TEST_F(ChatTerminal, ControlCStopsTheAnswerAndNotTheProgram) {
  const testing::TempFolder state;
  // Without an end token and with a context to fill, the answer takes far longer than the key.
  Terminal chat({"--ignore-eos", "-n", "100000", "--no-history", "--ctx", "32000"}, state.path());
  ASSERT_TRUE(chat.WaitFor("> "));
  chat.Type("Once upon a time\r");
  ASSERT_TRUE(chat.WaitFor("\n"));
  chat.Type(kControlC);
  ASSERT_TRUE(chat.WaitFor("(stopped)"));
  ASSERT_TRUE(chat.WaitFor("> "));
  chat.Type("/stats\r");
  ASSERT_TRUE(chat.WaitFor("1 turns"));
  chat.Type("/quit\r");
  EXPECT_EQ(chat.Wait(), 0);
  EXPECT_FALSE(std::filesystem::exists(state / "octet/chat_history"));
}

TEST_F(ChatTerminal, ControlCGivesUpALineAndTwiceLeaves) {
  const testing::TempFolder state;
  Terminal chat({}, state.path());
  ASSERT_TRUE(chat.WaitFor("> "));
  chat.Type("half a li");
  ASSERT_TRUE(chat.WaitFor("half a li"));
  chat.Type(kControlC);
  ASSERT_TRUE(chat.WaitFor("> "));
  chat.Type(kControlC);
  ASSERT_TRUE(chat.WaitFor("Ctrl-C again"));
  ASSERT_TRUE(chat.WaitFor("> "));
  chat.Type("/stats\r");  // something in between: not twice in a row
  ASSERT_TRUE(chat.WaitFor("context 0 of"));
  ASSERT_TRUE(chat.WaitFor("> "));
  chat.Type(kControlC);
  ASSERT_TRUE(chat.WaitFor("Ctrl-C again"));
  chat.Type(kControlC);
  EXPECT_EQ(chat.Wait(), 0);
}

TEST_F(ChatTerminal, JoinsLinesThatEndInABackslash) {
  const testing::TempFolder state;
  Terminal chat({"-n", "5", "--temp", "0"}, state.path());
  ASSERT_TRUE(chat.WaitFor("> "));
  chat.Type("Once upon\\\r");
  ASSERT_TRUE(chat.WaitFor(". "));
  chat.Type("a time\r");
  ASSERT_TRUE(chat.WaitFor("> "));
  chat.Type("/save " + (state / "saved.json").string() + "\r");
  ASSERT_TRUE(chat.WaitFor("Saved 2 messages"));
  std::stringstream content;
  content << std::ifstream(state / "saved.json").rdbuf();
  EXPECT_NE(content.str().find("Once upon\\na time"), std::string::npos);
}

}  // namespace
}  // namespace octet
