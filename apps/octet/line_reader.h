// Lines a person types, with editing and history; or plain lines of a pipe.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace octet::app {

class LineReader {
 public:
  enum class Outcome {
    kLine,
    kInterrupted,
    kEnd
  };  // kInterrupted: Ctrl-C, kEnd: Ctrl-D, end of pipe

  /// Editing when stdin and stdout are a terminal. `history_file` empty: nothing is kept.
  explicit LineReader(const std::filesystem::path& history_file);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  bool interactive() const;
  /// One line without its newline. A line that ends in a backslash goes on in the next, which is
  /// joined by a newline.
  Outcome Read(std::string& line);

 private:
  struct Editor;
  Outcome ReadPhysical(bool continued, std::string& line);
  std::unique_ptr<Editor> editor_;  // null for a pipe
};

/// $XDG_STATE_HOME/octet/chat_history, else ~/.local/state/octet/chat_history; empty when neither
/// variable is set. Creates the folder, for the user only.
std::filesystem::path ChatHistoryFile();

}  // namespace octet::app
