// `octet serve` as a process of its own, which can be killed as a power cut would.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/small_model.h"

namespace octet::testing {

class ServerProcess {
 public:
  /// Starts `binary serve --port 0 FLAGS…` and waits until it listens; throws with what it printed
  /// when it does not.
  ServerProcess(const std::string& binary, const std::vector<std::string>& flags) {
    int ends[2];
    if (pipe(ends) != 0) throw std::runtime_error("no pipe");
    std::vector<std::string> words = {binary, "serve", "--port", "0", "--log", "off"};
    words.insert(words.end(), flags.begin(), flags.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(ends[1], 2);
      close(ends[0]);
      close(ends[1]);
      setenv("OCTET_MODEL", SmallModelPath().c_str(), 1);
      execv(binary.c_str(), arguments.data());
      _exit(127);
    }
    close(ends[1]);
    output_ = ends[0];
    const std::string mark = "listening on ";
    size_t at = 0;
    while ((at = printed_.find(mark)) == std::string::npos ||
           printed_.find('\n', at) == std::string::npos) {
      char chunk[512];
      const ssize_t n = read(output_, chunk, sizeof chunk);
      if (n <= 0) {
        Wait();
        throw std::runtime_error("the server did not start: " + printed_);
      }
      printed_.append(chunk, static_cast<size_t>(n));
    }
    port_ = static_cast<uint16_t>(std::atoi(printed_.c_str() + printed_.rfind(':') + 1));
    // What it prints later must not stop it.
    drain_ = std::jthread([file = output_] {
      char chunk[512];
      while (read(file, chunk, sizeof chunk) > 0) {
      }
    });
  }
  ~ServerProcess() {
    Signal(SIGKILL);
    Wait();
    if (drain_.joinable()) drain_.join();
    close(output_);
  }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  uint16_t port() const { return port_; }
  void Signal(int signal) {
    if (pid_ > 0) kill(pid_, signal);
  }
  /// Its exit status as waitpid gives it.
  int Wait() {
    int status = 0;
    if (pid_ > 0) waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
  int output_ = -1;
  std::string printed_;
  uint16_t port_ = 0;
  std::jthread drain_;
};

}  // namespace octet::testing
