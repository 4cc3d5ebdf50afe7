/* Continues a prompt: generate [PROMPT [MODEL]]. */
#include <stdio.h>

#include "octet/octet.h"

static int print_piece(void* user, const char* piece, size_t bytes) {
  FILE* out = (FILE*)user;
  fwrite(piece, 1, bytes, out);
  return fflush(out); /* nonzero, which stops the answer, when nobody reads any more */
}

static int fail(const char* doing, octet_status status) {
  fprintf(stderr, "%s: %s (%s)\n", doing, octet_last_error(), octet_status_name(status));
  return 1;
}

int main(int argc, char** argv) {
  const char* prompt = argc > 1 ? argv[1] : "Once upon a time";

  octet_load_options load;
  octet_load_options_init(&load);
  load.model_path = argc > 2 ? argv[2] : NULL; /* NULL: the model inside the library */
  octet_model* model = NULL;
  octet_status status = octet_model_load(&load, &model);
  if (status != OCTET_OK) return fail("load", status);

  octet_generate_options options;
  octet_generate_options_init(&options);
  options.max_tokens = 64;
  options.temperature = 0;
  octet_generate_result result = {0};
  result.struct_size = sizeof result;

  printf("%s", prompt);
  status = octet_generate(model, prompt, &options, print_piece, stdout, &result);
  printf("\n");
  if (status == OCTET_OK) {
    fprintf(stderr, "%lld tokens in %.3f s\n", (long long)result.completion_tokens,
            result.prompt_s + result.decode_s);
  }
  octet_model_free(model);
  return status == OCTET_OK ? 0 : fail("generate", status);
}
