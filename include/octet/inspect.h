// What a model is and what it needs, from the headers of its files: also for a model that is only
// partly there, or of which there is only the configuration.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "octet/error.h"

namespace octet {

struct InspectOptions {
  /// A Hugging Face or Mistral folder, or a GGUF file; empty: the model inside the program.
  std::string model;
  int64_t context = 0;  // tokens to plan memory for; 0: what the model was trained for
};

enum class TensorState {
  kPresent,
  kTruncated,  // in a header, but the file ends before its data does
  kMissing,    // expected, and in no file that is there
};

struct TensorReport {
  std::string name;
  std::string type;    // "BF16"; empty when missing
  std::string layout;  // "rows", or what a packed matrix is tiled as: "panel16.1"
  std::vector<int64_t> shape;
  uint64_t bytes = 0;  // 0 when missing
  TensorState state = TensorState::kPresent;
};

/// What the model would take in one storage format: matrices in that format, norms and router in
/// F32; matrices whose rows are no multiple of its block in F16.
struct FormatReport {
  std::string name;            // "Q4_K"; "stored" for the files as they are
  double bits_per_weight = 0;  // over all parameters
  uint64_t weight_bytes = 0;
  int64_t n_kept_f16 = 0;     // matrices that the format cannot hold
  uint64_t memory_bytes = 0;  // weights, keys and values at the context (f16), working memory
  bool fits = false;          // memory_bytes within the machine's memory
};

struct KvReport {
  std::string type;  // "f16"
  int64_t bytes_per_token = 0;
};

struct ModelReport {
  std::string path;
  std::string layout;      // "huggingface", "mistral", "gguf", "packed"
  std::string packed_for;  // of a packed file: "x86_64: avx2 avx512"
  std::string architecture;
  int64_t parameters = 0;         // in all
  int64_t active_parameters = 0;  // used by one token, norms and embeddings included

  int64_t n_layers = 0, d_model = 0, d_ff = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0;
  int64_t n_experts = 0, n_experts_per_token = 0;  // 0: dense
  int64_t vocab_size = 0, trained_context = 0;
  int64_t sliding_window = 0;  // 0: none
  double rope_theta = 0;
  bool tied_embeddings = false;

  std::vector<TensorReport> tensors;         // in file order, the missing ones last
  std::vector<std::string> skipped_tensors;  // in the files but unusable, with the reason
  std::vector<std::string> problems;         // tensors whose shape contradicts the configuration
  uint64_t tensor_bytes = 0;                 // of the tensors that headers list
  std::string main_type;                     // that most of them have; empty without any
  int64_t n_files = 0;                       // weight files that are there; 0 for the one inside
  uint64_t file_bytes = 0;                   // their sizes
  uint64_t disk_bytes = 0;                   // that they occupy: less where a file is sparse
  std::vector<std::string> missing_files;
  int64_t n_missing_tensors = 0;
  int64_t n_truncated_tensors = 0;

  std::string tokenizer;  // "tokenizer.model", "tokenizer.json", "gguf", or empty
  std::string tokenizer_error;
  int64_t tokenizer_vocab = 0;
  bool has_chat_template = false;
  std::string chat_format;  // "mistral-v1"; "raw" when none is recognised

  int64_t context = 0;                // that the memory is planned for
  std::vector<KvReport> kv;           // first f16, the default
  uint64_t kv_bytes = 0;              // of the context, in f16
  uint64_t working_bytes = 0;         // activations of a 512-token step: an estimate
  uint64_t machine_memory = 0;        // of the machine or of this process's control group
  std::vector<FormatReport> formats;  // "stored" first, when it is known
};

/// Reads headers, configuration and tokenizer; never tensor data.
Result<ModelReport> InspectModel(const InspectOptions& options);

/// One JSON object, keys as the fields above.
std::string ToJson(const ModelReport& report);

}  // namespace octet
