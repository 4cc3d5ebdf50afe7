// Which experts see which texts. Part of the public facade.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "octet/error.h"

namespace octet {

struct ExpertStudyOptions {
  std::filesystem::path model;  // empty: the model inside the program
  /// "NAME=PATH": texts to compare, documents separated by a line <|endoftext|>.
  std::vector<std::string> texts;
  int64_t max_tokens = 20000;  // of each; 0: all
  int64_t context = 512;       // tokens of a window, at most the model's
  int threads = 0;             // 0: one a core
};

/// How the routers treat one text.
struct ExpertDomain {
  std::string name;
  int64_t tokens = 0;
  std::vector<double> load;  // [layer, expert] share of the tokens that chose the expert
  /// [layer] How often consecutive tokens have the same first choice, and share any of their
  /// choices (Jiang et al. 2024, "Mixtral of Experts", table 5).
  std::vector<double> same_first, same_any;
};

struct ExpertStudy {
  int32_t layers = 0, experts = 0, experts_per_token = 0;
  std::vector<ExpertDomain> domains;
  double random_first = 0, random_any = 0;  // what choices at random would give
};

/// kInvalidArgument for a dense model, and for a text without two tokens.
Result<ExpertStudy> StudyExperts(const ExpertStudyOptions& options,
                                 const std::function<void(const std::string& name)>& on_text = {});

/// Loads as heat maps, a layer each, and repetitions by layer.
std::string ExpertStudySvg(const ExpertStudy& study, const std::string& title);

}  // namespace octet
