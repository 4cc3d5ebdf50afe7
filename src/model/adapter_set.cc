#include "model/adapter_set.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/checksum.h"
#include "model/role_slots.h"

namespace octet {
namespace {

uint64_t Fingerprint(const Adapters& adapters) {
  uint64_t sum = 0;
  for (const Adapters::Entry& e : adapters.entries()) {
    const int64_t place[] = {
        static_cast<int64_t>(e.spec.role), e.spec.layer, e.spec.expert, e.rows, e.cols, e.rank};
    sum = Checksum(std::as_bytes(std::span(place)), sum);
    sum = Checksum(std::as_bytes(std::span(&e.scale, 1)), sum);
    sum = Checksum(std::as_bytes(adapters.A(e)), sum);
    sum = Checksum(std::as_bytes(adapters.B(e)), sum);
  }
  return sum == 0 ? 1 : sum;
}

}  // namespace

Status AdapterSet::Add(std::string name, Adapters adapters) {
  if (name.empty()) return Err(ErrorCode::kInvalidArgument, "an adapter has no name");
  if (Find(name) != 0)
    return Err(ErrorCode::kInvalidArgument, "two adapters are named \"{}\"", name);
  const uint64_t fingerprint = Fingerprint(adapters);
  members_.push_back({std::move(name), std::move(adapters), fingerprint});
  return {};
}

void AdapterSet::AttachTo(Weights& weights) {
  for (size_t i = 0; i < members_.size(); ++i) {
    const Adapters& adapters = members_[i].adapters;
    for (const Adapters::Entry& e : adapters.entries()) {
      WeightMatrix* matrix = MatrixSlot(weights, e.spec);
      CHECK(matrix != nullptr && matrix->rows == e.rows && matrix->cols == e.cols);
      std::vector<AdapterMatrix>& choices = choices_[matrix];
      choices.resize(members_.size());
      choices[i] = {adapters.A(e).data(), adapters.B(e).data(), e.rank, e.scale};
      matrix->choices = choices.data();
    }
  }
}

int32_t AdapterSet::Find(std::string_view name) const {
  const auto found = std::ranges::find(members_, name, &Member::name);
  return found == members_.end() ? 0 : static_cast<int32_t>(found - members_.begin()) + 1;
}

}  // namespace octet
