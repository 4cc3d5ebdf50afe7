#include "octet/inspect.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/shared_data.h"
#include "support/temp_folder.h"

namespace octet {
namespace {

using nlohmann::json;
using testing::SharedData;
using testing::TempFolder;

// As published, with what the count depends on.
constexpr char kMixtral8x7b[] = R"({
  "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_act": "silu",
  "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768,
  "num_attention_heads": 32, "num_experts_per_tok": 2, "num_hidden_layers": 32,
  "num_key_value_heads": 8, "num_local_experts": 8, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
  "sliding_window": null, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
  "vocab_size": 32000})";

struct Tensor {
  std::string name;
  std::vector<int64_t> shape;
  uint64_t bytes() const {
    uint64_t n = 2;
    for (const int64_t dim : shape) n *= static_cast<uint64_t>(dim);
    return n;
  }
};

std::vector<Tensor> Mixtral8x7bTensors() {
  std::vector<Tensor> tensors = {{"model.embed_tokens.weight", {32000, 4096}}};
  for (int layer = 0; layer < 32; ++layer) {
    const std::string at = "model.layers." + std::to_string(layer) + ".";
    tensors.push_back({at + "self_attn.q_proj.weight", {4096, 4096}});
    tensors.push_back({at + "self_attn.k_proj.weight", {1024, 4096}});
    tensors.push_back({at + "self_attn.v_proj.weight", {1024, 4096}});
    tensors.push_back({at + "self_attn.o_proj.weight", {4096, 4096}});
    tensors.push_back({at + "block_sparse_moe.gate.weight", {8, 4096}});
    for (int expert = 0; expert < 8; ++expert) {
      const std::string e = at + "block_sparse_moe.experts." + std::to_string(expert) + ".";
      tensors.push_back({e + "w1.weight", {14336, 4096}});
      tensors.push_back({e + "w2.weight", {4096, 14336}});
      tensors.push_back({e + "w3.weight", {14336, 4096}});
    }
    tensors.push_back({at + "input_layernorm.weight", {4096}});
    tensors.push_back({at + "post_attention_layernorm.weight", {4096}});
  }
  tensors.push_back({"model.norm.weight", {4096}});
  tensors.push_back({"lm_head.weight", {32000, 4096}});
  return tensors;
}

// Shards of at most 5 GB, as Hugging Face cuts them: for Mixtral 8x7B these are 19.
std::vector<std::vector<Tensor>> CutIntoShards(const std::vector<Tensor>& tensors) {
  std::vector<std::vector<Tensor>> shards(1);
  uint64_t bytes = 0;
  for (const Tensor& tensor : tensors) {
    if (bytes + tensor.bytes() > 5'000'000'000) {
      shards.emplace_back();
      bytes = 0;
    }
    bytes += tensor.bytes();
    shards.back().push_back(tensor);
  }
  return shards;
}

// A shard's header, the file extended to full size without writing any data.
void WriteSparseShard(const TempFolder& folder, const std::string& name,
                      const std::vector<Tensor>& tensors) {
  nlohmann::ordered_json header;
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors) {
    header[tensor.name] = {{"dtype", "BF16"},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes()}}};
    offset += tensor.bytes();
  }
  const std::string text = header.dump();
  std::string file(8, '\0');
  for (int i = 0; i < 8; ++i) file[i] = static_cast<char>(text.size() >> (8 * i));
  const auto path = folder.Write(name, file + text);
  std::filesystem::resize_file(path, file.size() + text.size() + offset);
}

// The whole folder of 93 GB; returns the shards' names.
std::vector<std::string> WriteMixtral8x7b(const TempFolder& folder) {
  const auto shards = CutIntoShards(Mixtral8x7bTensors());
  folder.Write("config.json", kMixtral8x7b);
  json index;
  std::vector<std::string> names;
  for (size_t i = 0; i < shards.size(); ++i) {
    names.push_back(fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size()));
    WriteSparseShard(folder, names.back(), shards[i]);
    for (const Tensor& tensor : shards[i]) index["weight_map"][tensor.name] = names.back();
  }
  folder.Write("model.safetensors.index.json", index.dump());
  return names;
}

void ExpectMixtralCounts(const ModelReport& report) {
  EXPECT_EQ(report.architecture, "mixtral");
  EXPECT_EQ(report.parameters, 46'702'792'704);
  EXPECT_EQ(report.active_parameters, 12'879'925'248);
  ASSERT_FALSE(report.kv.empty());
  EXPECT_EQ(report.kv[0].type, "f16");
  EXPECT_EQ(report.kv[0].bytes_per_token, 131072);
  EXPECT_EQ(report.kv_bytes, 4ull << 30);  // 32768 tokens
}

const FormatReport& FindFormat(const ModelReport& report, const std::string& name) {
  for (const FormatReport& format : report.formats) {
    if (format.name == name) return format;
  }
  throw std::runtime_error("no format " + name);
}

TEST(Inspect, CountsTheRealMixtralFromSparseFiles) {
  TempFolder folder;
  const auto names = WriteMixtral8x7b(folder);
  EXPECT_EQ(names.size(), 19u);
  const auto report = InspectModel({.model = folder.path().string()});
  ASSERT_TRUE(report) << report.error().message;
  ExpectMixtralCounts(*report);
  EXPECT_EQ(report->tensors.size(), 995u);
  EXPECT_EQ(report->tensor_bytes, 93'405'585'408u);
  EXPECT_EQ(report->n_files, 19);
  EXPECT_GT(report->file_bytes, 93'405'585'408u);
  EXPECT_LT(report->disk_bytes, 1u << 30);
  EXPECT_EQ(report->n_missing_tensors, 0);
  EXPECT_EQ(report->n_truncated_tensors, 0);
  EXPECT_TRUE(report->problems.empty());
  EXPECT_TRUE(report->missing_files.empty());
  EXPECT_EQ(FindFormat(*report, "stored").weight_bytes, 93'405'585'408u);
  // 256 values in 144 bytes, norms and routers in F32.
  const int64_t small = (32 * 2 + 1) * 4096 + 32 * 8 * 4096;
  EXPECT_EQ(FindFormat(*report, "Q4_K").weight_bytes,
            static_cast<uint64_t>((46'702'792'704 - small) / 256 * 144 + small * 4));
  EXPECT_EQ(FindFormat(*report, "Q4_K").n_kept_f16, 0);
}

TEST(Inspect, SaysWhatOfAModelIsMissing) {
  TempFolder folder;
  const auto names = WriteMixtral8x7b(folder);
  std::filesystem::remove(folder / names[3]);
  std::filesystem::remove(folder / names[18]);
  std::filesystem::resize_file(folder / names[0], 1'000'000'000);
  const auto report = InspectModel({.model = folder.path().string()});
  ASSERT_TRUE(report) << report.error().message;
  ExpectMixtralCounts(*report);
  EXPECT_EQ(report->missing_files, (std::vector<std::string>{names[3], names[18]}));
  EXPECT_GT(report->n_missing_tensors, 20);
  EXPECT_GT(report->n_truncated_tensors, 20);
  EXPECT_EQ(report->tensors.size(), 995u);  // missing ones included, with the shapes they must have
  const TensorReport& last = report->tensors.back();
  EXPECT_EQ(last.state, TensorState::kMissing);
  EXPECT_FALSE(last.shape.empty());
}

TEST(Inspect, NeedsOnlyTheConfiguration) {
  TempFolder folder;
  folder.Write("config.json", kMixtral8x7b);
  const auto report = InspectModel({.model = folder.path().string(), .context = 1024});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->parameters, 46'702'792'704);
  EXPECT_EQ(report->active_parameters, 12'879'925'248);
  EXPECT_EQ(report->n_missing_tensors, 995);
  EXPECT_EQ(report->context, 1024);
  EXPECT_EQ(report->kv_bytes, 128ull << 20);
  EXPECT_EQ(report->formats.front().name, "F32");  // nothing is stored
}

TEST(Inspect, FindsShapesThatContradictTheConfiguration) {
  TempFolder folder;
  folder.Write("config.json", kMixtral8x7b);
  auto tensors = Mixtral8x7bTensors();
  tensors[1].shape = {4096, 4095};
  WriteSparseShard(folder, "model.safetensors", tensors);
  const auto report = InspectModel({.model = folder.path().string()});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->problems, std::vector<std::string>{"model.layers.0.self_attn.q_proj.weight is "
                                                       "[4096, 4095], expected [4096, 4096]"});
}

TEST(Inspect, JsonHasStableKeys) {
  TempFolder folder;
  folder.Write("config.json", kMixtral8x7b);
  const auto report = InspectModel({.model = folder.path().string()});
  ASSERT_TRUE(report) << report.error().message;
  const json parsed = json::parse(ToJson(*report));
  EXPECT_EQ(parsed.at("parameters"), 46'702'792'704);
  EXPECT_EQ(parsed.at("active_parameters"), 12'879'925'248);
  EXPECT_EQ(parsed.at("kv").at(0).at("bytes_per_token"), 131072);
  EXPECT_EQ(parsed.at("tensors").at(0).at("state"), "missing");
  for (const char* key : {"path",
                          "layout",
                          "architecture",
                          "n_layers",
                          "d_model",
                          "d_ff",
                          "n_heads",
                          "n_kv_heads",
                          "head_dim",
                          "n_experts",
                          "n_experts_per_token",
                          "vocab_size",
                          "trained_context",
                          "sliding_window",
                          "rope_theta",
                          "tied_embeddings",
                          "tensor_bytes",
                          "main_type",
                          "n_files",
                          "file_bytes",
                          "disk_bytes",
                          "missing_files",
                          "n_missing_tensors",
                          "n_truncated_tensors",
                          "skipped_tensors",
                          "problems",
                          "tokenizer",
                          "tokenizer_error",
                          "tokenizer_vocab",
                          "has_chat_template",
                          "chat_format",
                          "context",
                          "kv_bytes",
                          "working_bytes",
                          "machine_memory",
                          "formats"}) {
    EXPECT_TRUE(parsed.contains(key)) << key;
  }
}

TEST(Inspect, CountsTheOtherReleasedModels) {
  OCTET_NEEDS_SHARED_DATA();
  const auto report =
      InspectModel({.model = SharedData() / "tokenizer/hf_mistral_7b_instruct_v0.1"});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->parameters, 7'241'732'096);
  EXPECT_EQ(report->active_parameters, 7'241'732'096);
  EXPECT_EQ(report->missing_files.size(), 2u);  // an index without its shards
  EXPECT_EQ(report->n_missing_tensors, 291);
  EXPECT_EQ(report->tokenizer_vocab, 32000);
  EXPECT_EQ(report->chat_format, "mistral-v1");
}

TEST(Inspect, AgreesOnOneModelInEveryLayout) {
  OCTET_NEEDS_SHARED_DATA();
  const auto models = SharedData() / "reference/models/mixtral-tiny";
  for (const char* layout : {"hf-bf16-sharded", "mistral-bf16-pth", "gguf"}) {
    const auto report = InspectModel({.model = models / layout});
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->parameters, 895552) << layout;
    EXPECT_EQ(report->active_parameters, 305728) << layout;
    EXPECT_EQ(report->n_missing_tensors, 0) << layout;
    EXPECT_TRUE(report->problems.empty()) << layout;
  }
}

TEST(Inspect, RefusesAnAbsurdContext) {
  EXPECT_EQ(InspectModel({.model = "x", .context = -1}).error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace octet
