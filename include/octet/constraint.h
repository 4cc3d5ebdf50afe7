// What an answer must be. Part of the public facade. Guide: docs/guides/constraints.md.
#pragma once

#include <string>

namespace octet {

/// The tokens of a constrained answer are chosen among those that keep it possible to end within
/// max_tokens, so that what is complete is valid and every answer gets complete.
struct Constraint {
  enum class Kind {
    kNone,
    kGrammar,     // text: GBNF, llama.cpp's notation
    kJson,        // any JSON object; no text
    kJsonSchema,  // text: a JSON schema
    kRegex,       // text: a regular expression that the whole answer matches
    kToolCalls,   // text: tools and how they may be called, as the server writes it
  };
  Kind kind = Kind::kNone;
  std::string text;

  bool operator==(const Constraint&) const = default;
};

}  // namespace octet
