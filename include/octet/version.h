// The version of the library and the program.
#pragma once

namespace octet {
inline constexpr char kVersion[] = "0.1.0";
}  // namespace octet
