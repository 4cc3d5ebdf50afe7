#include <nlohmann/json.hpp>

#include "octet/inspect.h"

namespace octet {
namespace {

using Json = nlohmann::ordered_json;

const char* StateName(TensorState state) {
  switch (state) {
    case TensorState::kPresent:
      return "present";
    case TensorState::kTruncated:
      return "truncated";
    case TensorState::kMissing:
      break;
  }
  return "missing";
}

Json TensorsJson(const ModelReport& report) {
  Json tensors = Json::array();
  for (const TensorReport& tensor : report.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"type", tensor.type},
                       {"layout", tensor.layout},
                       {"shape", tensor.shape},
                       {"bytes", tensor.bytes},
                       {"state", StateName(tensor.state)}});
  }
  return tensors;
}

Json FormatsJson(const ModelReport& report) {
  Json formats = Json::array();
  for (const FormatReport& format : report.formats) {
    formats.push_back({{"name", format.name},
                       {"bits_per_weight", format.bits_per_weight},
                       {"weight_bytes", format.weight_bytes},
                       {"n_kept_f16", format.n_kept_f16},
                       {"memory_bytes", format.memory_bytes},
                       {"fits", format.fits}});
  }
  return formats;
}

Json KvJson(const ModelReport& report) {
  Json kv = Json::array();
  for (const KvReport& type : report.kv) {
    kv.push_back({{"type", type.type}, {"bytes_per_token", type.bytes_per_token}});
  }
  return kv;
}

}  // namespace

std::string ToJson(const ModelReport& report) {
  const Json json = {{"path", report.path},
                     {"layout", report.layout},
                     {"packed_for", report.packed_for},
                     {"architecture", report.architecture},
                     {"parameters", report.parameters},
                     {"active_parameters", report.active_parameters},
                     {"n_layers", report.n_layers},
                     {"d_model", report.d_model},
                     {"d_ff", report.d_ff},
                     {"n_heads", report.n_heads},
                     {"n_kv_heads", report.n_kv_heads},
                     {"head_dim", report.head_dim},
                     {"n_experts", report.n_experts},
                     {"n_experts_per_token", report.n_experts_per_token},
                     {"vocab_size", report.vocab_size},
                     {"trained_context", report.trained_context},
                     {"sliding_window", report.sliding_window},
                     {"rope_theta", report.rope_theta},
                     {"tied_embeddings", report.tied_embeddings},
                     {"tensor_bytes", report.tensor_bytes},
                     {"main_type", report.main_type},
                     {"n_files", report.n_files},
                     {"file_bytes", report.file_bytes},
                     {"disk_bytes", report.disk_bytes},
                     {"missing_files", report.missing_files},
                     {"n_missing_tensors", report.n_missing_tensors},
                     {"n_truncated_tensors", report.n_truncated_tensors},
                     {"skipped_tensors", report.skipped_tensors},
                     {"problems", report.problems},
                     {"tokenizer", report.tokenizer},
                     {"tokenizer_error", report.tokenizer_error},
                     {"tokenizer_vocab", report.tokenizer_vocab},
                     {"has_chat_template", report.has_chat_template},
                     {"chat_format", report.chat_format},
                     {"context", report.context},
                     {"kv", KvJson(report)},
                     {"kv_bytes", report.kv_bytes},
                     {"working_bytes", report.working_bytes},
                     {"machine_memory", report.machine_memory},
                     {"formats", FormatsJson(report)},
                     {"tensors", TensorsJson(report)}};
  // Names come from files and may be no UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace octet
