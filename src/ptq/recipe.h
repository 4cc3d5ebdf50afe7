// Which format each tensor of a quantised file gets. A recipe names a format for the bulk of the
// weights and better ones where a few bits buy much: attention's keys and values are 0.6 % of
// Mixtral's weights, and the second matrix of a feed-forward is the most sensitive of the three.
// The mixes are those that files named q4_k_m and so on have had since llama.cpp defined them, so
// that sizes and qualities are the ones people know.
#pragma once

#include <cstdint>
#include <optional>
#include <regex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/config.h"
#include "model/tensor_specs.h"
#include "quant/format.h"

namespace octet {

enum class Recipe : uint8_t {
  kF32,
  kF16,
  kBf16,
  kQ8_0,
  kQ6_K,
  kQ5_K_M,
  kQ5_K_S,
  kQ5_1,
  kQ5_0,
  kQ4_K_M,
  kQ4_K_S,
  kQ4_1,
  kQ4_0,
  kIq4_Nl,
  kIq4_Xs,
  kQ3_K_L,
  kQ3_K_M,
  kQ3_K_S,
  kQ2_K,
};

struct RecipeInfo {
  Recipe recipe;
  std::string_view name;  // "q4_k_m"
  Format base;            // of the bulk
  uint32_t file_type;     // general.file_type in GGUF metadata
};
/// All recipes, from the largest file to the smallest.
std::span<const RecipeInfo> Recipes();
/// Case-insensitive; "q4_k", "q5_k" and "q3_k" stand for the _m mixes. kInvalidArgument lists the
/// names.
Result<Recipe> RecipeFromName(std::string_view name);

/// What a user may change about a recipe. Later members win over earlier ones.
struct RecipeChanges {
  std::optional<Format> experts;    // w1, w2, w3
  std::optional<Format> attention;  // wq, wk, wv, wo
  /// Patterns searched for in the output tensor's name; the first that matches decides.
  std::vector<std::pair<std::regex, Format>> overrides;
};
/// "REGEX=TYPE", as in "blk\.0\..*=q8_0". kInvalidArgument says what is wrong with it.
Result<std::pair<std::regex, Format>> ParseOverride(std::string_view text);

/// Norms and routers: programs that read GGUF add and route with F32, and refuse others.
bool AlwaysF32InGguf(TensorRole role);

class FormatChooser {
 public:
  /// `has_importance`: an importance matrix will be used, which spares some of the extra bits.
  FormatChooser(Recipe recipe, RecipeChanges changes, ModelConfig config, bool has_importance)
      : recipe_(recipe),
        changes_(std::move(changes)),
        config_(std::move(config)),
        has_importance_(has_importance) {}

  /// The format of tensor `name` of that role, in `layer` (-1: of none), with rows of `cols`
  /// values. Norms and routers are F32. Where rows are no multiple of the format's block, the
  /// next better format that fits, at last F16.
  Format Choose(std::string_view name, TensorRole role, int32_t layer, int64_t cols) const;

 private:
  std::optional<Format> Changed(std::string_view name, TensorRole role) const;
  Format Mixed(TensorRole role, int32_t layer, int64_t cols) const;
  Format ForValues(int32_t layer) const;
  Format ForAttentionOutput() const;
  Format ForDown(int32_t layer) const;

  Recipe recipe_;
  RecipeChanges changes_;
  ModelConfig config_;
  bool has_importance_;
};

}  // namespace octet
