// Grammars, schemas and tools that may be anything, and answers made under those that compile: the
// first byte chooses the kind and the tokens.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "constrain/constrain_testing.h"
#include "constrain/constraint.h"

namespace {

const octet::testing::WordTokenizer& Words() {
  static const octet::testing::WordTokenizer tokenizer(octet::testing::JsonWords());
  return tokenizer;
}

/// The `choice`-th of the allowed tokens, or -1.
int32_t Pick(std::span<const uint64_t> mask, uint32_t choice) {
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < Words().vocab_size(); ++id) {
    if ((mask[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0) ids.push_back(id);
  }
  return ids.empty() ? -1 : ids[choice % ids.size()];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using octet::Constraint;
  if (size == 0) return 0;
  constexpr Constraint::Kind kKinds[] = {Constraint::Kind::kGrammar, Constraint::Kind::kJsonSchema,
                                         Constraint::Kind::kToolCalls};
  const Constraint constraint{kKinds[data[0] % 3],
                              {reinterpret_cast<const char*>(data) + 1, size - 1}};
  octet::ConstraintCompiler compiler(Words());
  const auto state = compiler.Start(constraint, data[0] % 2 == 0);
  if (!state) return 0;
  constexpr int64_t kTokens = 40;
  int64_t left = (*state)->least_tokens();
  if (left > 1000) return 0;
  uint32_t choice = data[0];
  for (left += kTokens; left > 0; --left) {
    const int32_t id = Pick((*state)->Allowed(left, {}), choice >> 8);
    // The promise: whatever was chosen, there is a way on or the answer is whole.
    if (id < 0 && !(*state)->accepting()) std::abort();
    if (id < 0) break;
    (*state)->Advance(id);
    choice = choice * 1664525u + 1013904223u;
    if ((*state)->finished()) break;
  }
  return 0;
}
