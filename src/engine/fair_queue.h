// Requests that wait, and whose turn it is.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/sequence.h"

namespace octet {

/// Highest priority first; then who was sent back to wait; then the client that was served the
/// least; then first come, first served. Service is counted in tokens, and a client that comes back
/// starts level with the least served one that is there, so that nobody saves up turns (virtual
/// token counters: Sheng et al. 2024, "Fairness in Serving Large Language Models").
class FairQueue {
 public:
  /// A new request, from now on counted as its client's until Leave.
  void Enter(std::unique_ptr<Sequence> sequence);
  /// A running one is sent back.
  void Return(std::unique_ptr<Sequence> sequence);
  /// Whose turn it is; null when nobody waits.
  const Sequence* Next() const;
  Sequence* Next() { return const_cast<Sequence*>(std::as_const(*this).Next()); }
  std::unique_ptr<Sequence> Take(const Sequence* sequence);
  /// A request of this client is over.
  void Leave(const std::string& client);
  /// `cost` of work was done for this client.
  void Charge(const std::string& client, double cost);

  bool empty() const { return waiting_.empty(); }
  int64_t size() const { return static_cast<int64_t>(waiting_.size()); }
  const std::vector<std::unique_ptr<Sequence>>& waiting() const { return waiting_; }

 private:
  struct Client {
    double served = 0;
    int64_t requests = 0;  // waiting and running
  };
  bool Before(const Sequence& a, const Sequence& b) const;
  void ForgetIdleClients();

  std::vector<std::unique_ptr<Sequence>> waiting_;  // in order of arrival
  std::map<std::string, Client, std::less<>> clients_;
};

}  // namespace octet
