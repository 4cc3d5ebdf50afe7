// Progress of long work: a bar with rate and time left on a terminal, a plain line now and then
// otherwise. Always on stderr, so that stdout stays the result. Part of the public facade.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace octet {

class Progress {
 public:
  enum class Unit { kCount, kBytes };

  /// `total` 0 means unknown. Silent when `enabled` is false.
  Progress(std::string label, uint64_t total, Unit unit, bool enabled = true);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Moves to `done` of total, with a short note ("layer 3, ppl 5.21"). Cheap: redraws at most
  /// 10×/s.
  void Update(uint64_t done, std::string_view note = {});
  /// The last line, with the total time and mean rate.
  void Finish(std::string_view note = {});

 private:
  void Draw(bool last, std::string_view note);
  std::string label_;
  uint64_t total_;
  uint64_t done_ = 0;
  Unit unit_;
  bool enabled_;
  bool terminal_;
  bool finished_ = false;
  std::chrono::steady_clock::time_point start_, last_draw_;
};

/// "1.5 GiB", "12.3 MiB", "812 B".
std::string HumanBytes(uint64_t bytes);
/// "1h02m", "3m20s", "4.2s".
std::string HumanSeconds(double seconds);

}  // namespace octet
