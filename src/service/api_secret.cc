#include "service/api_secret.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/check.h"

namespace octet {

std::string NewApiSecret() {
  constexpr std::string_view kDigits =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  constexpr size_t kLength = 43;  // 62^43 > 2^256
  std::string secret = "octet-";
  const size_t whole = secret.size() + kLength;
  while (secret.size() < whole) {
    unsigned char byte = 0;
    CHECK(RAND_bytes(&byte, 1) == 1);
    // All digits alike: what is over a multiple of 62 is drawn again.
    constexpr int kFair = 256 / 62 * 62;
    if (byte < kFair) secret += kDigits[byte % kDigits.size()];
  }
  return secret;
}

std::string HashApiSecret(std::string_view secret) {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  CHECK(EVP_Digest(secret.data(), secret.size(), hash, &size, EVP_sha256(), nullptr) == 1);
  return std::string(reinterpret_cast<const char*>(hash), size);
}

std::string ApiSecretPrefix(std::string_view secret) {
  constexpr size_t kShown = 12;
  return std::string(secret.substr(0, kShown));
}

}  // namespace octet
