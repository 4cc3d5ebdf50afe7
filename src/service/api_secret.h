// The secrets clients send, and what is kept of them.
#pragma once

#include <string>
#include <string_view>

namespace octet {

/// "octet-" and 43 letters and digits from the system's random numbers: 256 bits, so that one
/// SHA-256 is as good as a slow hash with salt.
std::string NewApiSecret();
/// Its SHA-256, 32 bytes. Whoever guesses at secrets learns nothing from how long it takes to look
/// a hash up.
std::string HashApiSecret(std::string_view secret);
/// The part that is kept and shown: 12 characters.
std::string ApiSecretPrefix(std::string_view secret);

}  // namespace octet
