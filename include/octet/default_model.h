// The small model inside the library: what runs when no other is named.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace octet {

/// A whole GGUF file (models/README.md says which), 64-byte aligned, there as long as the program.
std::span<const std::byte> DefaultModelBytes();
/// What it is called in messages and listings.
std::string_view DefaultModelName();

}  // namespace octet
