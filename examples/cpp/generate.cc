// Continues a prompt: generate [PROMPT [MODEL]].
#include <cstdio>
#include <string_view>

#include "octet/engine.h"

int main(int argc, char** argv) {
  const std::string_view prompt = argc > 1 ? argv[1] : "Once upon a time";

  octet::LoadOptions load;
  if (argc > 2) load.model = argv[2];  // empty: the model inside the library
  auto model = octet::LanguageModel::Load(load);
  if (!model) {
    std::fprintf(stderr, "load: %s\n", model.error().message.c_str());
    return 1;
  }

  octet::GenerateOptions options;
  options.max_tokens = 64;
  options.sampling = octet::SamplingOptions::Greedy();
  std::fwrite(prompt.data(), 1, prompt.size(), stdout);
  const auto result = model->Generate(prompt, options, [](std::string_view piece) {
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    return std::fflush(stdout) == 0;  // false stops the answer when nobody reads any more
  });
  std::printf("\n");
  if (!result) {
    std::fprintf(stderr, "generate: %s\n", result.error().message.c_str());
    return 1;
  }
  std::fprintf(stderr, "%lld tokens in %.3f s\n",
               static_cast<long long>(result->completion_tokens()),
               result->prompt_s + result->decode_s);
  return 0;
}
