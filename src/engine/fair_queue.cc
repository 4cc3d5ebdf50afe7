#include "engine/fair_queue.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"

namespace octet {
namespace {

/// Clients without requests whose service is remembered.
constexpr size_t kMostClients = 4096;

}  // namespace

void FairQueue::Enter(std::unique_ptr<Sequence> sequence) {
  Client& client = clients_[sequence->request.client];
  if (client.requests == 0) {
    double least = std::numeric_limits<double>::infinity();
    for (const auto& [name, other] : clients_) {
      if (other.requests > 0) least = std::min(least, other.served);
    }
    if (least < std::numeric_limits<double>::infinity()) {
      client.served = std::max(client.served, least);
    }
  }
  ++client.requests;
  waiting_.push_back(std::move(sequence));
}

void FairQueue::Return(std::unique_ptr<Sequence> sequence) {
  sequence->preempted = true;
  waiting_.push_back(std::move(sequence));
}

bool FairQueue::Before(const Sequence& a, const Sequence& b) const {
  if (a.request.priority != b.request.priority) return a.request.priority > b.request.priority;
  if (a.preempted != b.preempted) return a.preempted;
  if (!a.preempted && a.request.client != b.request.client) {
    const double a_served = clients_.find(a.request.client)->second.served;
    const double b_served = clients_.find(b.request.client)->second.served;
    if (a_served != b_served) return a_served < b_served;
  }
  return a.id < b.id;
}

const Sequence* FairQueue::Next() const {
  const auto next = std::min_element(waiting_.begin(), waiting_.end(),
                                     [&](const auto& a, const auto& b) { return Before(*a, *b); });
  return next == waiting_.end() ? nullptr : next->get();
}

std::unique_ptr<Sequence> FairQueue::Take(const Sequence* sequence) {
  const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                  [&](const auto& s) { return s.get() == sequence; });
  CHECK(found != waiting_.end());
  std::unique_ptr<Sequence> taken = std::move(*found);
  waiting_.erase(found);
  return taken;
}

void FairQueue::Leave(const std::string& client) {
  const auto found = clients_.find(client);
  CHECK(found != clients_.end() && found->second.requests > 0);
  if (--found->second.requests == 0) ForgetIdleClients();
}

void FairQueue::ForgetIdleClients() {
  const auto is_idle = [](const auto& client) { return client.second.requests == 0; };
  if (clients_.size() > kMostClients || std::all_of(clients_.begin(), clients_.end(), is_idle)) {
    std::erase_if(clients_, is_idle);
  }
}

void FairQueue::Charge(const std::string& client, double cost) {
  clients_.find(client)->second.served += cost;
}

}  // namespace octet
