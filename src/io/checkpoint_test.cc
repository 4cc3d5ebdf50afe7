#include "io/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

#include "io/safetensors.h"
#include "io/torch_checkpoint.h"
#include "support/damage.h"
#include "support/shared_data.h"
#include "support/temp_folder.h"
#include "support/torch_file.h"

namespace octet {
namespace {

using testing::Raw;
using testing::SharedData;
using testing::TempFolder;
using testing::TorchFile;
namespace pickle = testing::pickle;

// A safetensors file of F16 vectors of two elements.
std::string Safetensors(const std::vector<std::string>& names) {
  std::string header = "{", data;
  for (const std::string& name : names) {
    header += fmt::format(R"({}"{}":{{"dtype":"F16","shape":[2],"data_offsets":[{},{}]}})",
                          data.empty() ? "" : ",", name, data.size(), data.size() + 4);
    data += name.substr(0, 1) + "123";
  }
  header += "}";
  return Raw<uint64_t>(header.size()) + header + data;
}

std::string Pth(const std::string& name) {
  return TorchFile(pickle::Dict({{name, pickle::Tensor("HalfStorage", "0", 2, {2}, {1})}}),
                   {"abcd"});
}

std::string Index(const std::vector<std::pair<std::string, std::string>>& map) {
  nlohmann::json index;
  for (const auto& [tensor, file] : map) index["weight_map"][tensor] = file;
  return index.dump();
}

void ExpectError(const std::filesystem::path& path, ErrorCode code, const std::string& message,
                 OpenMode mode = OpenMode::kFull) {
  const auto checkpoint = OpenCheckpoint(path, mode);
  ASSERT_FALSE(checkpoint) << message;
  EXPECT_EQ(checkpoint.error().code, code) << checkpoint.error().message;
  EXPECT_NE(checkpoint.error().message.find(message), std::string::npos)
      << checkpoint.error().message;
}

std::string Bytes(const Checkpoint& checkpoint, std::string_view name) {
  const TensorInfo* const info = checkpoint.tensors->Find(name);
  if (info == nullptr) return "no tensor " + std::string(name);
  const auto data = checkpoint.tensors->Data(*info);
  if (!data) return data.error().message;
  return {reinterpret_cast<const char*>(data->data()), data->size()};
}

TEST(OpenCheckpoint, ReadsOneFileAndItsConfig) {
  TempFolder folder;
  folder.Write("config.json", R"({"model_type":"mixtral"})");
  folder.Write("model.safetensors", Safetensors({"a", "b"}));
  for (const auto& path :
       {folder.path(), folder.path() / "model.safetensors", folder.path() / "config.json"}) {
    const auto checkpoint = OpenCheckpoint(path);
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    EXPECT_EQ(checkpoint->kind, CheckpointKind::kHuggingFace);
    EXPECT_EQ(checkpoint->config.at("model_type"), "mixtral");
    EXPECT_EQ(Bytes(*checkpoint, "b"), "b123");
  }
}

TEST(OpenCheckpoint, ReadsShardsThroughTheirIndex) {
  TempFolder folder;
  folder.Write("config.json", "{}");
  folder.Write("sub/x.safetensors", Safetensors({"a"}));
  folder.Write("model-00002-of-00002.safetensors", Safetensors({"b", "c"}));
  folder.Write("model.safetensors.index.json", Index({{"a", "sub/x.safetensors"},
                                                      {"b", "model-00002-of-00002.safetensors"},
                                                      {"c", "model-00002-of-00002.safetensors"}}));
  const auto checkpoint = OpenCheckpoint(folder.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->tensors->tensors().size(), 3u);
  EXPECT_EQ(Bytes(*checkpoint, "a"), "a123");
}

TEST(OpenCheckpoint, ListsMissingShardsWhenOnlyHeadersAreWanted) {
  TempFolder folder;
  folder.Write("config.json", "{}");
  folder.Write("m-1.safetensors", Safetensors({"a"}));
  folder.Write(
      "model.safetensors.index.json",
      Index({{"a", "m-1.safetensors"}, {"b", "m-2.safetensors"}, {"c", "m-2.safetensors"}}));
  ExpectError(folder.path(), ErrorCode::kNotFound, "m-2.safetensors");
  const auto checkpoint = OpenCheckpoint(folder.path(), OpenMode::kHeadersOnly);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->missing_files, std::vector<std::string>{"m-2.safetensors"});
  EXPECT_EQ(checkpoint->missing_tensors, (std::vector<std::string>{"b", "c"}));
  EXPECT_EQ(checkpoint->tensors->tensors().size(), 1u);
}

TEST(OpenCheckpoint, NumberedShardsWithoutAnIndexTellWhatIsMissing) {
  TempFolder folder;
  folder.Write("config.json", "{}");
  folder.Write("model-00001-of-00003.safetensors", Safetensors({"a"}));
  folder.Write("model-00003-of-00003.safetensors", Safetensors({"c"}));
  ExpectError(folder.path(), ErrorCode::kNotFound, "model-00002-of-00003.safetensors");
  folder.Write("model-00002-of-00003.safetensors", Safetensors({"b"}));
  const auto checkpoint = OpenCheckpoint(folder.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->tensors->tensors().size(), 3u);
}

TEST(OpenCheckpoint, RefusesAnIndexThatLiesOrLeavesTheFolder) {
  TempFolder folder;
  folder.Write("config.json", "{}");
  folder.Write("m.safetensors", Safetensors({"a"}));
  const auto with_index = [&](const std::string& text, const std::string& message) {
    folder.Write("model.safetensors.index.json", text);
    ExpectError(folder.path(), ErrorCode::kCorrupt, message);
  };
  with_index(Index({{"a", "../m.safetensors"}}), "not a path inside the folder");
  with_index(Index({{"a", "/etc/passwd"}}), "not a path inside the folder");
  with_index(Index({{"a", "x/../../m.safetensors"}}), "not a path inside the folder");
  with_index(Index({{"a", ""}}), "not a path inside the folder");
  with_index(Index({{"b", "m.safetensors"}}), "b is in m.safetensors, which does not have it");
  with_index(R"({"weight_map":{"a":1}})", "not a string");
  with_index(R"({"weight_map":[]})", "weight_map");
  with_index(R"({"weight_map":)", "not valid JSON");
  with_index(std::string(1000, '['), "nested deeper");
}

TEST(OpenCheckpoint, MergesPartsOfDifferentTensors) {
  TempFolder folder;
  folder.Write("params.json", R"({"dim":2})");
  folder.Write("consolidated.00.pth", Pth("a"));
  folder.Write("consolidated.01.pth", Pth("b"));
  folder.Write("consolidated.02.pth", Pth("c"));
  const auto checkpoint = OpenCheckpoint(folder.path() / "consolidated.00.pth");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->kind, CheckpointKind::kMistral);
  EXPECT_EQ(checkpoint->tensors->tensors().size(), 3u);
  EXPECT_EQ(Bytes(*checkpoint, "c"), "abcd");

  std::filesystem::remove(folder.path() / "consolidated.01.pth");
  ExpectError(folder.path(), ErrorCode::kNotFound, "consolidated.01.pth");
  const auto headers = OpenCheckpoint(folder.path(), OpenMode::kHeadersOnly);
  ASSERT_TRUE(headers) << headers.error().message;
  EXPECT_EQ(headers->missing_files, std::vector<std::string>{"consolidated.01.pth"});

  folder.Write("consolidated.01.pth", Pth("a"));
  ExpectError(folder.path(), ErrorCode::kCorrupt, "tensor a was already in");
}

TEST(OpenCheckpoint, PrefersHuggingFaceUnlessTheFileIsMistrals) {
  TempFolder folder;
  folder.Write("params.json", "{}");
  folder.Write("consolidated.safetensors", Safetensors({"mistral"}));
  folder.Write("config.json", "{}");
  folder.Write("model.safetensors", Safetensors({"hf"}));
  const auto hf = OpenCheckpoint(folder.path());
  ASSERT_TRUE(hf) << hf.error().message;
  EXPECT_NE(hf->tensors->Find("hf"), nullptr);
  EXPECT_EQ(hf->tensors->Find("mistral"), nullptr);
  const auto mistral = OpenCheckpoint(folder.path() / "consolidated.safetensors");
  ASSERT_TRUE(mistral) << mistral.error().message;
  EXPECT_EQ(mistral->kind, CheckpointKind::kMistral);
  // Mistral's repositories have both configurations, some only their own weights.
  std::filesystem::remove(folder.path() / "model.safetensors");
  const auto only = OpenCheckpoint(folder.path());
  ASSERT_TRUE(only) << only.error().message;
  EXPECT_EQ(only->kind, CheckpointKind::kMistral);
}

TEST(OpenCheckpoint, ReadsTorchFilesOfHuggingFace) {
  TempFolder folder;
  folder.Write("config.json", "{}");
  folder.Write("pytorch_model-00001-of-00002.bin", Pth("a"));
  folder.Write("pytorch_model-00002-of-00002.bin", Pth("b"));
  folder.Write("pytorch_model.bin.index.json", Index({{"a", "pytorch_model-00001-of-00002.bin"},
                                                      {"b", "pytorch_model-00002-of-00002.bin"}}));
  const auto checkpoint = OpenCheckpoint(folder.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(Bytes(*checkpoint, "b"), "abcd");
}

TEST(OpenCheckpoint, SaysWhatIsMissingOrWrong) {
  TempFolder folder;
  ExpectError(folder.path() / "nowhere", ErrorCode::kNotFound, "no such file or folder");
  ExpectError(folder.path(), ErrorCode::kNotFound, "no model here");
  folder.Write("model.safetensors", Safetensors({"a"}));
  ExpectError(folder.path(), ErrorCode::kNotFound, "no config.json");
  folder.Write("config.json", "[1]");
  ExpectError(folder.path(), ErrorCode::kCorrupt, "expected a JSON object");
  folder.Write("config.json", "{} trailing");
  ExpectError(folder.path(), ErrorCode::kCorrupt, "not valid JSON");
  folder.Write("config.json", std::string(5u << 20, ' '));
  ExpectError(folder.path(), ErrorCode::kCorrupt, "larger than");
}

TEST(OpenCheckpoint, NeedsNoWeightsForTheHeaders) {
  TempFolder folder;
  folder.Write("config.json", R"({"model_type":"mixtral"})");
  ExpectError(folder.path(), ErrorCode::kNotFound, "no weights");
  const auto checkpoint = OpenCheckpoint(folder.path(), OpenMode::kHeadersOnly);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_TRUE(checkpoint->tensors->tensors().empty());
}

// --- The reference models -----------------------------------------------------------------------

Checkpoint OpenReference(const std::string& model) {
  auto checkpoint = OpenCheckpoint(SharedData() / "reference/models" / model);
  if (!checkpoint) throw std::runtime_error(checkpoint.error().message);
  return *std::move(checkpoint);
}

TEST(ReferenceModels, AllOpen) {
  OCTET_NEEDS_SHARED_DATA();
  int opened = 0;
  const auto models = SharedData() / "reference/models";
  for (const auto& format : std::filesystem::recursive_directory_iterator(models)) {
    const std::string name = format.path().filename().string();
    if (!format.is_directory() || (!name.starts_with("hf-") && !name.starts_with("mistral-") &&
                                   name.find("-hf-") == name.npos))
      continue;
    if (std::filesystem::is_directory(format.path() / "hf-f32")) continue;  // a model's folder
    if (!std::filesystem::exists(format.path() / "config.json") &&
        !std::filesystem::exists(format.path() / "params.json"))
      continue;
    const auto checkpoint = OpenCheckpoint(format.path());
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    EXPECT_TRUE(checkpoint->skipped_tensors.empty());
    for (const TensorInfo& info : checkpoint->tensors->tensors()) {
      EXPECT_TRUE(checkpoint->tensors->Data(info)) << format.path() << " " << info.name;
    }
    ++opened;
  }
  EXPECT_GE(opened, 15);
}

// Names that differ between the two layouts; rows of wq and wk are permuted, so they are left out.
struct Pair {
  const char* hf;
  const char* mistral;
};
constexpr Pair kMoePairs[] = {
    {"model.embed_tokens.weight", "tok_embeddings.weight"},
    {"model.norm.weight", "norm.weight"},
    {"lm_head.weight", "output.weight"},
    {"model.layers.1.input_layernorm.weight", "layers.1.attention_norm.weight"},
    {"model.layers.1.post_attention_layernorm.weight", "layers.1.ffn_norm.weight"},
    {"model.layers.1.self_attn.v_proj.weight", "layers.1.attention.wv.weight"},
    {"model.layers.1.self_attn.o_proj.weight", "layers.1.attention.wo.weight"},
    {"model.layers.1.block_sparse_moe.gate.weight", "layers.1.feed_forward.gate.weight"},
    {"model.layers.0.block_sparse_moe.experts.7.w1.weight",
     "layers.0.feed_forward.experts.7.w1.weight"},
    {"model.layers.1.block_sparse_moe.experts.3.w2.weight",
     "layers.1.feed_forward.experts.3.w2.weight"},
    {"model.layers.1.block_sparse_moe.experts.5.w3.weight",
     "layers.1.feed_forward.experts.5.w3.weight"},
};

void ExpectSameTensors(const std::string& hf_name, const std::string& mistral_name) {
  const Checkpoint hf = OpenReference(hf_name);
  const Checkpoint mistral = OpenReference(mistral_name);
  EXPECT_EQ(hf.tensors->tensors().size(), mistral.tensors->tensors().size());
  for (const Pair& pair : kMoePairs) {
    const TensorInfo* const a = hf.tensors->Find(pair.hf);
    const TensorInfo* const b = mistral.tensors->Find(pair.mistral);
    ASSERT_NE(a, nullptr) << pair.hf;
    ASSERT_NE(b, nullptr) << pair.mistral;
    EXPECT_EQ(a->format, b->format);
    EXPECT_EQ(a->shape, b->shape) << pair.hf;
    EXPECT_EQ(Bytes(hf, pair.hf), Bytes(mistral, pair.mistral)) << pair.hf;
  }
}

TEST(ReferenceModels, ShardedSafetensorsAndTorchFilesHoldTheSameBytes) {
  OCTET_NEEDS_SHARED_DATA();
  ExpectSameTensors("mixtral-tiny/hf-bf16-sharded", "mixtral-tiny/mistral-bf16-pth");
}

TEST(ReferenceModels, BothLayoutsOfSafetensorsHoldTheSameBytes) {
  OCTET_NEEDS_SHARED_DATA();
  ExpectSameTensors("mixtral-tiny-swa/hf-bf16", "mixtral-tiny-swa/mistral-bf16-st");
}

std::vector<float> Values(const Checkpoint& checkpoint, std::string_view name) {
  const TensorInfo* const info = checkpoint.tensors->Find(name);
  if (info == nullptr) throw std::runtime_error("no tensor " + std::string(name));
  const auto data = checkpoint.tensors->Data(*info);
  std::vector<float> values(static_cast<size_t>(info->values()));
  Info(info->format).decode(data->data(), info->values(), values.data());
  return values;
}

// The model is exact in bfloat16 and in float16.
TEST(ReferenceModels, SafetensorsAndGgufHoldTheSameValues) {
  OCTET_NEEDS_SHARED_DATA();
  const Checkpoint hf = OpenReference("mixtral-tiny/hf-bf16-sharded");
  const Checkpoint gguf = OpenReference("mixtral-tiny/gguf");
  for (const auto& [a, b] :
       {std::pair("model.embed_tokens.weight", "token_embd.weight"),
        std::pair("lm_head.weight", "output.weight"),
        std::pair("model.norm.weight", "output_norm.weight"),
        std::pair("model.layers.3.self_attn.v_proj.weight", "blk.3.attn_v.weight")}) {
    EXPECT_EQ(Values(hf, a), Values(gguf, b)) << a;
  }
}

TEST(ReferenceModels, DamagedFilesAreRefusedOrRead) {
  OCTET_NEEDS_SHARED_DATA();
  const auto models = SharedData() / "reference/models";
  const auto check = [](const std::filesystem::path& path, size_t head, auto add) {
    const auto file = MappedFile::Open(path);
    ASSERT_TRUE(file) << file.error().message;
    const auto parse = [&](std::span<const std::byte> bytes) {
      MappedTensors tensors;
      if (!add(tensors, bytes, "damaged", OpenMode::kFull)) return false;
      testing::TouchAll(tensors);
      return true;
    };
    const std::string_view good(reinterpret_cast<const char*>(file->bytes().data()),
                                file->bytes().size());
    testing::ExpectTruncationsRefused(good, parse);
    testing::SurviveByteFlips(good, head, 1000, 20240119, parse);
  };
  using Add = Status (*)(MappedTensors&, std::span<const std::byte>, std::string_view, OpenMode);
  check(models / "mixtral-train/hf-f32/model.safetensors", 4000, static_cast<Add>(AddSafetensors));
  check(models / "mixtral-train/mistral-f32-pth/consolidated.00.pth", 4000,
        static_cast<Add>(AddTorchCheckpoint));
}

TEST(ReferenceModels, AFolderOfOneGgufIsThatModel) {
  OCTET_NEEDS_SHARED_DATA();
  const Checkpoint gguf = OpenReference("mixtral-tiny/gguf");
  EXPECT_EQ(gguf.kind, CheckpointKind::kGguf);
  ASSERT_NE(gguf.gguf, nullptr);
  ExpectError(SharedData() / "reference/models/mixtral-hd128/gguf", ErrorCode::kInvalidArgument,
              "holds 8 models");
}

}  // namespace
}  // namespace octet
