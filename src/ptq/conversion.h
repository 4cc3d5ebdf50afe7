// What the writers of both targets share: the opened source, and one place where bytes are counted.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "base/progress.h"
#include "cpu/thread_pool.h"
#include "io/checkpoint.h"
#include "model/config.h"
#include "octet/convert.h"
#include "ops/pack.h"
#include "ptq/convert_job.h"
#include "ptq/quantize.h"
#include "ptq/tensor_plan.h"
#include "ptq/tensor_stream.h"
#include "text/tokenizer.h"

namespace octet {

struct Conversion {
  const ConvertOptions& options;
  std::filesystem::path destination;
  Checkpoint source;
  ModelConfig config;
  const QuantizeChoice* quantize;        // null: the matrices' type is options.type
  const KernelTable* pack_for;           // null: rows, as every GGUF has them
  std::unique_ptr<Tokenizer> tokenizer;  // null when the source has none
  std::string_view activity;             // on the progress bar
  ConvertJob job;
  ThreadPool pool;
  ConvertReport report;
};

/// Sends planned tensors into a writer's Append, with progress and the wish to stop.
class TensorPump {
 public:
  TensorPump(const Conversion& conversion, ThreadPool& pool, uint64_t total_bytes);

  /// Tensors that an interrupted run has written.
  void Skip(uint64_t bytes) { done_ += bytes; }
  /// `append` gets the tensor's bytes in order. kCancelled once options.stop is set.
  Status Send(const PlannedTensor& tensor, TensorStreamer::Sink append);
  void Finish() { progress_.Finish(); }

 private:
  TensorStreamer streamer_;
  Progress progress_;
  const std::atomic<bool>* stop_;
  uint64_t done_ = 0;
};

/// The format most values of the planned matrices have.
Format MainFormat(const TensorPlan& plan);

/// kIo when the folder's file system has less room than `bytes`.
Status CheckRoom(const std::filesystem::path& folder, uint64_t bytes);

/// A GGUF at conversion.destination, or several parts named after it.
Status WriteGgufModel(Conversion& conversion);
/// A folder.
Status WriteHfModel(Conversion& conversion);

}  // namespace octet
