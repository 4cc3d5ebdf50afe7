// Adapters beside one model's weights, of which every row of a batch may have one
// (Batch::adapters).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/lora.h"
#include "model/weights.h"

namespace octet {

/// Numbered from 1 in the order they were added; 0 stands for none. Must outlive the weights it is
/// attached to, and not move.
class AdapterSet {
 public:
  AdapterSet() = default;
  AdapterSet(const AdapterSet&) = delete;
  AdapterSet& operator=(const AdapterSet&) = delete;

  /// Before AttachTo. kInvalidArgument when another one has this name, or it is empty.
  Status Add(std::string name, Adapters adapters);
  void AttachTo(Weights& weights);

  int32_t size() const { return static_cast<int32_t>(members_.size()); }
  const std::string& name(int32_t id) const { return members_[Index(id)].name; }
  /// 0 when there is none of this name.
  int32_t Find(std::string_view name) const;
  /// Of everything that decides what it adds; not 0.
  uint64_t fingerprint(int32_t id) const { return members_[Index(id)].fingerprint; }

 private:
  struct Member {
    std::string name;
    Adapters adapters;
    uint64_t fingerprint;
  };
  static size_t Index(int32_t id) { return static_cast<size_t>(id) - 1; }

  std::vector<Member> members_;
  std::map<const WeightMatrix*, std::vector<AdapterMatrix>> choices_;  // [size()] each
};

}  // namespace octet
