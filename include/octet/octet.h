/* Octet's C interface. C99; stable within a major version: structs grow at their end only, and
 * carry their size so that older callers keep working. Guide: docs/guides/embedding-octet.md.
 *
 * Every function that can fail returns an octet_status; octet_last_error() then says what, where
 * and what to do. Strings are UTF-8. A model is used by one thread at a time; several models, and
 * models on several threads, are independent. */
#ifndef OCTET_OCTET_H_
#define OCTET_OCTET_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define OCTET_API __attribute__((visibility("default")))
#else
#define OCTET_API
#endif

typedef enum octet_status {
  OCTET_OK = 0,
  OCTET_INVALID_ARGUMENT = 1, /* an option or request that cannot be honoured */
  OCTET_NOT_FOUND = 2,        /* a file that is not there */
  OCTET_IO = 3,               /* the operating system refused a read */
  OCTET_CORRUPT = 4,          /* a file that contradicts itself or its format */
  OCTET_UNSUPPORTED = 5,      /* valid, but nothing here handles it */
  OCTET_OUT_OF_MEMORY = 6,
  OCTET_CANCELLED = 7,
  OCTET_INTERNAL = 8 /* a bug */
} octet_status;

typedef enum octet_finish {
  OCTET_FINISH_STOP = 0,     /* an end token or a stop string */
  OCTET_FINISH_LENGTH = 1,   /* max_tokens reached */
  OCTET_FINISH_CONTEXT = 2,  /* the context is full */
  OCTET_FINISH_CANCELLED = 3 /* the callback asked for it */
} octet_finish;

/* "0.1.0". */
OCTET_API const char* octet_version(void);
/* "corrupt", for messages. */
OCTET_API const char* octet_status_name(octet_status status);
/* Why the calling thread's last failed call failed; "" if none did. Valid until its next call. */
OCTET_API const char* octet_last_error(void);

/* ---- models ---- */

typedef struct octet_model octet_model;

typedef struct octet_load_options {
  size_t struct_size;       /* set by octet_load_options_init */
  const char* model_path;   /* folder or GGUF file; NULL: the model inside the library */
  const char* kv_type;      /* "f16" (NULL), "f32", "bf16", "q8_0" */
  const char* arithmetic;   /* "fast" (NULL) or "float32" */
  int64_t context;          /* tokens; 0: the model's, at most 8192 */
  int32_t threads;          /* 0: one a physical core */
  int32_t max_batch_tokens; /* prompt tokens computed at a time; 0: 512 */
  int32_t max_draft;        /* tokens guessed at a time, 1 to 32; 0: 16 */
  const char* speculate;    /* "off", "lookup", "draft"; NULL: draft where there is a draft model */
  const char* draft_model;  /* a smaller model with the same vocabulary; NULL: none */
} octet_load_options;

OCTET_API void octet_load_options_init(octet_load_options* options);
/* `options` may be NULL. On success *model must be given to octet_model_free; else it is NULL. */
OCTET_API octet_status octet_model_load(const octet_load_options* options, octet_model** model);
/* NULL is allowed. */
OCTET_API void octet_model_free(octet_model* model);

typedef struct octet_model_info {
  size_t struct_size;       /* set by the caller to sizeof(octet_model_info) */
  const char* name;         /* valid as long as the model, like the next two */
  const char* architecture; /* "mixtral", "mistral", "llama" */
  const char* chat_format;  /* "mistral-v1", …; "raw" for a base model */
  int64_t parameters, active_parameters;
  int64_t vocab_size;
  int64_t context, trained_context;
  int64_t weight_bytes, kv_bytes_per_token;
  int32_t threads;
} octet_model_info;

OCTET_API octet_status octet_model_get_info(const octet_model* model, octet_model_info* info);

/* ---- text and ids ---- */

/* Writes up to `capacity` ids and stores the number of all of them in *count; with capacity 0,
 * `ids` may be NULL: a way to ask for the size. `add_bos` puts the begin token in front if the
 * model wants one. OCTET_INVALID_ARGUMENT when capacity is neither 0 nor enough. */
OCTET_API octet_status octet_tokenize(const octet_model* model, const char* text, size_t text_bytes,
                                      int add_bos, int32_t* ids, size_t capacity, size_t* count);
/* The same for text: *bytes does not count the terminating zero, `capacity` must leave room for it.
 */
OCTET_API octet_status octet_detokenize(const octet_model* model, const int32_t* ids, size_t count,
                                        char* text, size_t capacity, size_t* bytes);

/* ---- generation ---- */

/* Sampling as in octet/sampling.h; ranges and formulas are in docs/guides/sampling.md. */
typedef struct octet_generate_options {
  size_t struct_size; /* set by octet_generate_options_init */
  int64_t max_tokens;
  uint64_t seed;
  float temperature; /* 0: always the most likely token */
  float top_p, min_p, typical_p;
  int32_t top_k;
  int32_t temperature_first;
  float mirostat_tau, mirostat_eta;
  float repeat_penalty, presence_penalty, frequency_penalty;
  int32_t penalty_last_n;
  float dry_multiplier, dry_base;
  int32_t dry_allowed_length, dry_last_n;
  int32_t ignore_eos;
  int32_t chat;            /* nonzero: the prompt is a user's message, not a text to continue */
  const char* system;      /* with chat; NULL: none */
  const char* chat_format; /* with chat; NULL: the model's own */
  const char* const* stop; /* stop strings */
  size_t stop_count;
  const int32_t* bias_ids; /* logit bias: bias_count ids and what is added to their logits */
  const float* bias_values;
  size_t bias_count;
  /* What the text must be, at most one of them: a grammar (GBNF), or a JSON schema, where "{}" is
   * any value. NULL: anything. docs/guides/constraints.md */
  const char* grammar;
  const char* json_schema;
} octet_generate_options;

OCTET_API void octet_generate_options_init(octet_generate_options* options);

/* Gets the text as it becomes certain: whole UTF-8 characters, not zero-terminated, empty while the
 * prompt is computed. Nonzero stops the answer. */
typedef int (*octet_piece_callback)(void* user, const char* piece, size_t bytes);

typedef struct octet_generate_result {
  size_t struct_size; /* set by the caller to sizeof(octet_generate_result) */
  octet_finish finish;
  int64_t prompt_tokens, completion_tokens;
  double prompt_s, decode_s; /* until the first token; from then to the last */
  int64_t steps;             /* of the model: fewer than tokens when guesses were right */
  int64_t drafted_tokens, accepted_tokens; /* guesses computed; of them, right */
} octet_generate_result;

/* `options`, `callback` and `result` may be NULL. */
OCTET_API octet_status octet_generate(octet_model* model, const char* prompt,
                                      const octet_generate_options* options,
                                      octet_piece_callback callback, void* user,
                                      octet_generate_result* result);

/* Logits of every position: count · vocab_size floats, one row a token. `capacity` in floats. */
OCTET_API octet_status octet_logits(octet_model* model, const int32_t* ids, size_t count,
                                    float* logits, size_t capacity);

#ifdef __cplusplus
}
#endif

#endif
