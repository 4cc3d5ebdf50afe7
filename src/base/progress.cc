#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string_view>

namespace octet {

std::string HumanBytes(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes) / 1024;
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", value, value < 10 ? 2 : 1, kUnits[unit]);
}

std::string HumanSeconds(double seconds) {
  if (seconds < 60) return fmt::format("{:.1f}s", seconds);
  const auto whole = std::llround(seconds);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
}

Progress::Progress(std::string label, uint64_t total, Unit unit, bool enabled)
    : label_(std::move(label)),
      total_(total),
      unit_(unit),
      enabled_(enabled),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()),
      last_draw_(start_) {}

Progress::~Progress() {
  if (enabled_ && !finished_ && terminal_) std::fputc('\n', stderr);
}

void Progress::Update(uint64_t done, std::string_view note) {
  done_ = done;
  if (!enabled_ || finished_) return;
  const auto now = std::chrono::steady_clock::now();
  const auto interval =
      terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10000);
  if (now - last_draw_ < interval) return;
  last_draw_ = now;
  Draw(false, note);
}

void Progress::Finish(std::string_view note) {
  if (!enabled_ || finished_) return;
  Draw(true, note);
  finished_ = true;
}

void Progress::Draw(bool last, std::string_view note) {
  const double elapsed_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const double rate = elapsed_s > 0 ? static_cast<double>(done_) / elapsed_s : 0;
  auto amount = [&](uint64_t n) {
    return unit_ == Unit::kBytes ? HumanBytes(n) : fmt::format("{}", n);
  };
  std::string line = label_ + " ";
  if (total_ > 0 && terminal_) {
    constexpr int kWidth = 24;
    const auto filled = static_cast<int>(std::min(done_, total_) * kWidth / total_);
    line += fmt::format("[{}{}] ", std::string(filled, '#'), std::string(kWidth - filled, '.'));
  }
  line += total_ > 0 ? fmt::format("{}/{}", amount(done_), amount(total_)) : amount(done_);
  line += unit_ == Unit::kBytes ? fmt::format("  {}/s", HumanBytes(static_cast<uint64_t>(rate)))
                                : fmt::format("  {:.1f}/s", rate);
  if (last) {
    line += fmt::format("  in {}", HumanSeconds(elapsed_s));
  } else if (total_ > done_ && rate > 0) {
    line += fmt::format("  {} left", HumanSeconds(static_cast<double>(total_ - done_) / rate));
  }
  if (!note.empty()) line += fmt::format("  {}", note);
  if (terminal_) {
    fmt::print(stderr, "\r\x1b[K{}{}", line, last ? "\n" : "");
  } else {
    fmt::print(stderr, "{}\n", line);
  }
  std::fflush(stderr);
}

}  // namespace octet
