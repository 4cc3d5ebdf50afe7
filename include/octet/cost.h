// What a million tokens cost on a machine: its electricity and its own price.
#pragma once

#include "octet/error.h"

namespace octet {

struct CostOptions {
  double prompt_tokens_per_s = 0;      // of prompts, > 0
  double completion_tokens_per_s = 0;  // of all answers together, > 0
  double watts = 0;                    // of the whole machine while it computes
  double price_per_kwh = 0;
  double hardware_price = 0;
  double lifetime_years = 4;  // over which that is spread
  double utilisation = 1;     // share of its life in which it computes, (0, 1]
  double idle_watts = 0;      // for the rest of it
};

struct CostReport {
  double per_hour = 0;  // of computing
  double electricity_per_hour = 0, hardware_per_hour = 0;
  double per_million_prompt = 0, per_million_completion = 0;
};

/// kInvalidArgument for what is negative, zero where it cannot be, or not finite.
Result<CostReport> EstimateCost(const CostOptions& options);

}  // namespace octet
