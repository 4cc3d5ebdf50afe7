#include "ptq/recipe.h"

#include <algorithm>
#include <cctype>

namespace octet {
namespace {

constexpr RecipeInfo kRecipes[] = {
    {Recipe::kF32, "f32", Format::kF32, 0},
    {Recipe::kF16, "f16", Format::kF16, 1},
    {Recipe::kBf16, "bf16", Format::kBf16, 32},
    {Recipe::kQ8_0, "q8_0", Format::kQ8_0, 7},
    {Recipe::kQ6_K, "q6_k", Format::kQ6_K, 18},
    {Recipe::kQ5_K_M, "q5_k_m", Format::kQ5_K, 17},
    {Recipe::kQ5_K_S, "q5_k_s", Format::kQ5_K, 16},
    {Recipe::kQ5_1, "q5_1", Format::kQ5_1, 9},
    {Recipe::kQ5_0, "q5_0", Format::kQ5_0, 8},
    {Recipe::kQ4_K_M, "q4_k_m", Format::kQ4_K, 15},
    {Recipe::kQ4_K_S, "q4_k_s", Format::kQ4_K, 14},
    {Recipe::kQ4_1, "q4_1", Format::kQ4_1, 3},
    {Recipe::kQ4_0, "q4_0", Format::kQ4_0, 2},
    {Recipe::kIq4_Nl, "iq4_nl", Format::kIq4_Nl, 25},
    {Recipe::kIq4_Xs, "iq4_xs", Format::kIq4_Xs, 30},
    {Recipe::kQ3_K_L, "q3_k_l", Format::kQ3_K, 13},
    {Recipe::kQ3_K_M, "q3_k_m", Format::kQ3_K, 12},
    {Recipe::kQ3_K_S, "q3_k_s", Format::kQ3_K, 11},
    {Recipe::kQ2_K, "q2_k", Format::kQ2_K, 10},
};

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

Format BaseOf(Recipe recipe) { return kRecipes[static_cast<size_t>(recipe)].base; }

/// The first and last eighth of the layers, and every third between.
bool IsFavoured(int32_t layer, int64_t layers) {
  const int64_t eighth = layers / 8;
  return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
}

/// The next format up that takes shorter rows.
Format Shorter(Format format) {
  switch (format) {
    case Format::kQ2_K:
    case Format::kQ3_K:
    case Format::kIq4_Xs:
      return Format::kIq4_Nl;
    case Format::kQ4_K:
      return Format::kQ5_0;
    case Format::kQ5_K:
      return Format::kQ5_1;
    case Format::kQ6_K:
      return Format::kQ8_0;
    default:
      return Format::kF16;
  }
}

}  // namespace

std::span<const RecipeInfo> Recipes() { return kRecipes; }

Result<Recipe> RecipeFromName(std::string_view name) {
  std::string wanted = Lower(name);
  if (wanted == "q3_k" || wanted == "q4_k" || wanted == "q5_k") wanted += "_m";
  std::string names;
  for (const RecipeInfo& info : kRecipes) {
    if (info.name == wanted) return info.recipe;
    names += names.empty() ? "" : " ";
    names += info.name;
  }
  return Err(ErrorCode::kInvalidArgument, "unknown type '{}'; there are {}", name, names);
}

Result<std::pair<std::regex, Format>> ParseOverride(std::string_view text) {
  const size_t equals = text.rfind('=');
  if (equals == std::string_view::npos || equals == 0) {
    return Err(ErrorCode::kInvalidArgument, "'{}': expected REGEX=TYPE, as in 'ffn_down=q6_k'",
               text);
  }
  const auto format = FormatFromName(text.substr(equals + 1));
  if (!format) {
    return Err(ErrorCode::kInvalidArgument, "'{}': '{}' is no block format", text,
               text.substr(equals + 1));
  }
  try {
    return std::pair(std::regex(std::string(text.substr(0, equals)), std::regex::ECMAScript),
                     *format);
  } catch (const std::regex_error& error) {
    return Err(ErrorCode::kInvalidArgument, "'{}': not a regular expression: {}", text,
               error.what());
  }
}

bool AlwaysF32InGguf(TensorRole role) {
  return role == TensorRole::kAttnNorm || role == TensorRole::kFfnNorm ||
         role == TensorRole::kFinalNorm || role == TensorRole::kRouter ||
         role == TensorRole::kRouterBias;
}

Format FormatChooser::Choose(std::string_view name, TensorRole role, int32_t layer,
                             int64_t cols) const {
  if (AlwaysF32InGguf(role)) return Format::kF32;
  Format format = Changed(name, role).value_or(Mixed(role, layer, cols));
  while (cols % Info(format).block_values != 0) format = Shorter(format);
  return format;
}

std::optional<Format> FormatChooser::Changed(std::string_view name, TensorRole role) const {
  for (const auto& [pattern, format] : changes_.overrides) {
    if (std::regex_search(name.begin(), name.end(), pattern)) return format;
  }
  switch (role) {
    case TensorRole::kWq:
    case TensorRole::kWk:
    case TensorRole::kWv:
    case TensorRole::kWo:
      return changes_.attention;
    case TensorRole::kW1:
    case TensorRole::kW2:
    case TensorRole::kW3:
      return changes_.experts;
    default:
      return std::nullopt;
  }
}

Format FormatChooser::Mixed(TensorRole role, int32_t layer, int64_t cols) const {
  const Format base = BaseOf(recipe_);
  if (Info(base).block_values == 1) return base;
  switch (role) {
    case TensorRole::kHead:
      return cols % 256 != 0 ? Format::kQ8_0 : base == Format::kQ8_0 ? base : Format::kQ6_K;
    case TensorRole::kEmbedding:  // which is the head too when there is no other
      return config_.tied_embeddings ? Mixed(TensorRole::kHead, layer, cols) : base;
    case TensorRole::kWk:  // shared by all heads of a group, and tiny beside the experts
      return config_.is_moe() ? Format::kQ8_0 : base;
    case TensorRole::kWv:
      return config_.is_moe() ? Format::kQ8_0 : ForValues(layer);
    case TensorRole::kWo:
      return ForAttentionOutput();
    case TensorRole::kW2:
      return ForDown(layer);
    default:
      return base;
  }
}

/// wv of a dense model.
Format FormatChooser::ForValues(int32_t layer) const {
  const int64_t group = config_.n_heads / std::max<int64_t>(config_.n_kv_heads, 1);
  Format format = BaseOf(recipe_);
  switch (recipe_) {
    case Recipe::kQ2_K:
      format = group >= 4 ? Format::kQ4_K : Format::kQ3_K;
      break;
    case Recipe::kQ3_K_M:
      format = layer < 2 ? Format::kQ5_K : Format::kQ4_K;
      break;
    case Recipe::kQ3_K_L:
      format = Format::kQ5_K;
      break;
    case Recipe::kIq4_Nl:
    case Recipe::kIq4_Xs:
      if (group >= 4) format = Format::kQ5_K;
      break;
    case Recipe::kQ4_K_S:
      if (layer < 4) format = Format::kQ5_K;
      break;
    case Recipe::kQ4_K_M:
    case Recipe::kQ5_K_M:
      if (IsFavoured(layer, config_.n_layers)) format = Format::kQ6_K;
      break;
    default:
      break;
  }
  // With eight query heads to one of these (Llama 2 70B), bits here cost nearly nothing.
  const bool is_small = group >= 8;
  return is_small && (format == Format::kQ3_K || format == Format::kQ4_K) ? Format::kQ5_K : format;
}

Format FormatChooser::ForAttentionOutput() const {
  switch (recipe_) {
    case Recipe::kQ2_K:
      return config_.is_moe() ? Format::kQ5_K : Format::kQ3_K;
    case Recipe::kQ3_K_M:
      return config_.is_moe() ? Format::kQ5_K : Format::kQ4_K;
    case Recipe::kQ3_K_L:
      return config_.is_moe() ? Format::kQ3_K : Format::kQ5_K;
    case Recipe::kQ3_K_S:
    case Recipe::kQ4_K_S:
    case Recipe::kQ4_K_M:
    case Recipe::kIq4_Nl:
    case Recipe::kIq4_Xs:
      return config_.is_moe() ? Format::kQ5_K : BaseOf(recipe_);
    default:
      return BaseOf(recipe_);
  }
}

Format FormatChooser::ForDown(int32_t layer) const {
  const Format base = BaseOf(recipe_);
  const bool is_first_eighth = layer < config_.n_layers / 8;
  switch (recipe_) {
    case Recipe::kQ2_K:
      return Format::kQ3_K;
    case Recipe::kQ3_K_M:
      return layer < config_.n_layers / 16 ? Format::kQ5_K : Format::kQ4_K;
    case Recipe::kQ3_K_L:
      return Format::kQ5_K;
    case Recipe::kQ4_K_M:
    case Recipe::kQ5_K_M:
      return IsFavoured(layer, config_.n_layers) ? Format::kQ6_K : base;
    case Recipe::kQ4_K_S:
      return is_first_eighth ? Format::kQ5_K : base;
    case Recipe::kIq4_Nl:
    case Recipe::kIq4_Xs:
      return is_first_eighth && !has_importance_ ? Format::kQ5_K : base;
    case Recipe::kQ4_0:  // an importance matrix can mislead a format without offset here
      return is_first_eighth && has_importance_ ? Format::kQ4_1 : base;
    case Recipe::kQ5_0:
      return is_first_eighth && has_importance_ ? Format::kQ5_1 : base;
    default:
      return base;
  }
}

}  // namespace octet
