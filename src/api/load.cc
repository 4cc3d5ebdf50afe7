// Load for a server: one thread waits for all connections at once.
#include "octet/load.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <thread>

#include "api/guard.h"
#include "api/load_stream.h"

namespace octet {
namespace {

using Clock = LoadAnswer::Clock;

constexpr const char* kNoConnection = "cannot connect";

const char* const kBeginnings[] = {
    "Once upon a time, there was a little dragon",
    "Lily and Tom went to the park. They saw",
    "One day, a boy found a red ball",
    "The old bear lived alone in the forest",
    "Mia wanted to bake a cake for her mom",
};

double SecondsBetween(Clock::time_point a, Clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

Quantiles QuantilesOf(std::vector<float>& values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const auto at = [&](double share) {
    return double{values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))]};
  };
  return {at(0.5), at(0.95), at(0.99), at(1)};
}

class LoadTest {
 public:
  LoadTest(const LoadTestOptions& options, LoadUrl target)
      : options_(options), target_(std::move(target)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {}
  ~LoadTest() { close(epoll_); }
  LoadTest(const LoadTest&) = delete;
  LoadTest& operator=(const LoadTest&) = delete;

  Result<LoadReport> Run(const std::function<void(const std::string&)>& progress);

 private:
  std::string Body();
  void Begin(size_t stream);
  void Take(const LoadAnswer& answer);
  void Wait();
  LoadReport Report();

  const LoadTestOptions& options_;
  const LoadUrl target_;
  const int epoll_;
  std::vector<std::unique_ptr<LoadStream>> streams_;
  std::vector<int> watched_;  // the socket epoll knows of each stream
  Clock::time_point begin_, end_;
  int64_t asked_ = 0, unconnected_in_a_row_ = 0;

  LoadReport report_;
  double tokens_ = 0, pieces_ = 0, piece_tokens_ = 0;
  std::vector<float> first_tokens_, gaps_;
};

std::string LoadTest::Body() {
  const auto n = static_cast<size_t>(asked_++);
  const std::string prompt = options_.prompts.empty()
                                 ? kBeginnings[n % std::size(kBeginnings)]
                                 : options_.prompts[n % options_.prompts.size()];
  nlohmann::ordered_json body = {{"messages", {{{"role", "user"}, {"content", prompt}}}},
                                 {"max_tokens", options_.max_tokens},
                                 {"temperature", options_.temperature},
                                 {"seed", n},
                                 {"stream", true},
                                 {"stream_options", {{"include_usage", true}}}};
  if (options_.ignore_eos) body["ignore_eos"] = true;
  if (!options_.model.empty()) body["model"] = options_.model;
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void LoadTest::Begin(size_t i) {
  LoadStream& stream = *streams_[i];
  // A kept connection may have been closed meanwhile: then once more on a new one.
  const std::string body = Body();
  if (!stream.Begin(body)) {
    watched_[i] = -1;
    if (!stream.Begin(body)) return Take(*stream.Fail(kNoConnection));
  }
  if (stream.fd() == watched_[i]) return;
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = i;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, stream.fd(), &event) == 0) watched_[i] = stream.fd();
}

void LoadTest::Take(const LoadAnswer& answer) {
  if (!answer.error.empty()) {
    ++report_.errors[answer.error];
    if (answer.error == kNoConnection) ++unconnected_in_a_row_;
    return;
  }
  unconnected_in_a_row_ = 0;
  // Tokens come evenly between an answer's first and last: those within the time count.
  const double whole = std::max(1e-6, SecondsBetween(answer.first, answer.last));
  const auto count = static_cast<double>(answer.tokens);
  const double from = std::max(0.0, SecondsBetween(begin_, answer.first));
  const double to = std::min(options_.seconds, SecondsBetween(begin_, answer.last));
  if (to <= from) return;
  const double inside = count * std::min(1.0, (to - from) / whole);
  tokens_ += inside;
  pieces_ += static_cast<double>(answer.pieces);
  piece_tokens_ += count;
  const double density = inside / (to - from);
  for (double at = from; at < to;) {
    const double next = std::min(to, std::floor(at) + 1);
    const auto second = static_cast<size_t>(at);
    if (second < report_.each_second.size()) report_.each_second[second] += density * (next - at);
    at = next;
  }
  if (answer.sent < begin_) return;
  ++report_.answers;
  report_.prompt_tokens += answer.prompt_tokens;
  first_tokens_.push_back(static_cast<float>(SecondsBetween(answer.sent, answer.first)));
  gaps_.insert(gaps_.end(), answer.gaps.begin(), answer.gaps.end());
}

/// What comes within a moment is read at once, up to that much late: a client that wakes up for
/// each of many streams takes from the server what it is to measure.
void LoadTest::Wait() {
  constexpr std::chrono::microseconds kMoment{300};
  epoll_event events[64];
  constexpr int kPatienceMs = 200;
  const int n = epoll_wait(epoll_, events, std::size(events), kPatienceMs);
  for (int e = 0; e < n; ++e) {
    const auto i = static_cast<size_t>(events[e].data.u64);
    if (streams_[i]->fd() < 0) continue;
    const auto answer = streams_[i]->Read();
    if (!answer) continue;
    if (streams_[i]->fd() < 0) watched_[i] = -1;
    Take(*answer);
    if (Clock::now() < end_) Begin(i);
  }
  if (n > 0) std::this_thread::sleep_for(kMoment);
  const auto now = Clock::now();
  for (size_t i = 0; n == 0 && i < streams_.size(); ++i) {
    LoadStream& stream = *streams_[i];
    if (stream.fd() >= 0 && SecondsBetween(stream.last_byte(), now) > options_.timeout_s) {
      Take(*stream.Fail("timeout"));
      watched_[i] = -1;
    }
    if (stream.fd() < 0 && now < end_) Begin(i);
  }
}

Result<LoadReport> LoadTest::Run(const std::function<void(const std::string&)>& progress) {
  const auto as_duration = [](double seconds) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  };
  const auto n = static_cast<size_t>(options_.concurrent);
  begin_ = Clock::now() + as_duration(options_.warm_up_s);
  end_ = begin_ + as_duration(options_.seconds);
  report_.each_second.resize(static_cast<size_t>(std::ceil(options_.seconds)));
  watched_.assign(n, -1);
  for (size_t i = 0; i < n; ++i) streams_.push_back(std::make_unique<LoadStream>(target_));
  for (size_t i = 0; i < n; ++i) Begin(i);
  auto told = Clock::now();
  // The answers of the last moment count up to it.
  const auto give_up = end_ + as_duration(options_.timeout_s);
  while (Clock::now() < give_up) {
    Wait();
    if (unconnected_in_a_row_ >= 2 * options_.concurrent && report_.answers == 0) {
      return Err(ErrorCode::kIo, "cannot connect to {}", options_.url);
    }
    const bool idle = std::ranges::none_of(streams_, [](const auto& s) { return s->answering(); });
    if (Clock::now() >= end_ && idle) break;
    if (progress && SecondsBetween(told, Clock::now()) >= 1) {
      told = Clock::now();
      progress(fmt::format("{:.0f} s, {} answers, {} errors", SecondsBetween(begin_, told),
                           report_.answers, report_.error_count()));
    }
  }
  return Report();
}

LoadReport LoadTest::Report() {
  report_.seconds = options_.seconds;
  report_.tokens = std::llround(tokens_);
  report_.tokens_per_s = tokens_ / options_.seconds;
  report_.tokens_per_piece = pieces_ > 0 ? piece_tokens_ / pieces_ : 0;
  report_.first_token = QuantilesOf(first_tokens_);
  report_.gap = QuantilesOf(gaps_);
  return report_;
}

}  // namespace

int64_t LoadReport::error_count() const {
  return std::accumulate(errors.begin(), errors.end(), int64_t{0},
                         [](int64_t sum, const auto& e) { return sum + e.second; });
}

Result<LoadReport> RunLoad(const LoadTestOptions& options,
                           const std::function<void(const std::string&)>& progress) {
  return Guarded([&]() -> Result<LoadReport> {
    constexpr int32_t kMostStreams = 4096;
    constexpr double kLongest = 86400;
    if (options.concurrent < 1 || options.concurrent > kMostStreams || options.max_tokens < 1 ||
        !(options.seconds > 0 && options.seconds <= kLongest) ||
        !(options.warm_up_s >= 0 && options.warm_up_s <= kLongest) || !(options.timeout_s > 0)) {
      return Err(ErrorCode::kInvalidArgument,
                 "expected 1 to {} chats, at least one token each, and a time of up to a day",
                 kMostStreams);
    }
    OCTET_ASSIGN(LoadUrl target, ParseLoadUrl(options.url));
    target.api_key = options.api_key;
    return LoadTest(options, std::move(target)).Run(progress);
  });
}

}  // namespace octet
