#include "ptq/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "io/checkpoint.h"
#include "io/gguf_writer.h"
#include "model/synthetic.h"
#include "support/sha256.h"
#include "support/shared_data.h"
#include "support/temp_folder.h"
#include "support/tiny_checkpoint.h"

namespace octet {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

ConvertReport MustConvert(const fs::path& from, const fs::path& to, ConvertType type = {},
                          ConvertOptions options = {}) {
  options.type = type;
  options.threads = 2;
  const auto report = ConvertCheckpoint(from, to, options);
  EXPECT_TRUE(report) << report.error().message;
  return report ? *report : ConvertReport();
}

std::string ConvertError(const fs::path& from, const fs::path& to, ErrorCode code,
                         ConvertOptions options = {}) {
  const auto report = ConvertCheckpoint(from, to, options);
  if (report) return "no error";
  EXPECT_EQ(ErrorCodeName(report.error().code), ErrorCodeName(code)) << report.error().message;
  return report.error().message;
}

Checkpoint SmallSynthetic() {
  ModelConfig config;
  config.architecture = "mixtral";
  config.n_layers = 2;
  config.d_model = config.d_ff = 256;
  config.n_heads = 4;
  config.n_kv_heads = 2;
  config.head_dim = 64;
  config.n_experts = 4;
  config.n_experts_per_token = 2;
  config.vocab_size = 300;
  config.context_len = 256;
  return *MakeSyntheticCheckpoint(config, {.matrices = Format::kQ4_K});
}

/// "dtype [shape] sha256" of every tensor.
std::map<std::string, std::string> Digests(const fs::path& path) {
  std::map<std::string, std::string> digests;
  const auto checkpoint = OpenCheckpoint(path);
  EXPECT_TRUE(checkpoint) << checkpoint.error().message;
  if (!checkpoint) return digests;
  for (const TensorInfo& info : checkpoint->tensors->tensors()) {
    const auto data = checkpoint->tensors->Data(info);
    digests[info.name] = fmt::format("{} {} {}", octet::Info(info.format).name,
                                     ShapeString(info.shape), testing::Sha256(*data));
  }
  return digests;
}

std::map<std::string, std::vector<float>> Values(const fs::path& path) {
  std::map<std::string, std::vector<float>> tensors;
  const auto checkpoint = OpenCheckpoint(path);
  EXPECT_TRUE(checkpoint) << checkpoint.error().message;
  for (const TensorInfo& info : checkpoint->tensors->tensors()) {
    auto& values = tensors[info.name];
    values.resize(info.values());
    octet::Info(info.format)
        .decode(checkpoint->tensors->Data(info)->data(), info.values(), values.data());
  }
  return tensors;
}

std::string Bytes(const fs::path& path) { return *ReadTextFile(path); }

class ConvertLayouts : public ::testing::TestWithParam<Naming> {};

TEST_P(ConvertLayouts, BecomeTheSameGgufAndTheSameFolder) {
  const testing::TempFolder folder;
  const ModelConfig config = testing::TinyConfig();
  testing::WriteTinyCheckpoint(folder / "in", config, GetParam(), Format::kBf16);
  MustConvert(folder / "in", folder / "out.gguf", ConvertType::kF32);
  EXPECT_EQ(Values(folder / "out.gguf"), testing::TinyTensors(config, Naming::kGgufMerged));
  MustConvert(folder / "in", folder / "out", ConvertType::kKeep);
  EXPECT_EQ(Values(folder / "out"), testing::TinyTensors(config, Naming::kHfSplit));
  // A folder that never was a GGUF keeps every type; one that was gets norms and router narrowed.
  MustConvert(folder / "in", folder / "kept.gguf");
  MustConvert(folder / "kept.gguf", folder / "back");
  EXPECT_EQ(Digests(folder / "back"), Digests(folder / "out"));
  const auto read_back = ReadModelConfig(*OpenCheckpoint(folder / "back"));
  ASSERT_TRUE(read_back) << read_back.error().message;
  EXPECT_EQ(read_back->head_dim, config.head_dim);
  EXPECT_EQ(read_back->rope_theta, config.rope_theta);
  EXPECT_EQ(read_back->norm_eps, config.norm_eps);
  EXPECT_EQ(read_back->context_len, config.context_len);
}

INSTANTIATE_TEST_SUITE_P(All, ConvertLayouts,
                         ::testing::Values(Naming::kHfSplit, Naming::kHfFused, Naming::kMistral,
                                           Naming::kMistralStacked));

TEST(Convert, TakesDenseModels) {
  const testing::TempFolder folder;
  const ModelConfig config = testing::TinyConfig(0);
  testing::WriteTinyCheckpoint(folder / "in", config, Naming::kMistral, Format::kF16);
  MustConvert(folder / "in", folder / "out.gguf");
  EXPECT_EQ(Values(folder / "out.gguf"), testing::TinyTensors(config, Naming::kGgufMerged));
  MustConvert(folder / "out.gguf", folder / "out");
  EXPECT_EQ(Values(folder / "out"), testing::TinyTensors(config, Naming::kHfSplit));
}

TEST(Convert, CarriesTheBiasesOfRouters) {
  const testing::TempFolder folder;
  ModelConfig config = testing::TinyConfig();
  config.router_bias = true;
  const fs::path source = folder.path() / "source", gguf = folder.path() / "m.gguf";
  testing::WriteTinyCheckpoint(source, config, Naming::kMistral, Format::kF32);
  MustConvert(source, gguf);
  MustConvert(gguf, folder.path() / "hf");
  EXPECT_TRUE(ReadModelConfig(*OpenCheckpoint(gguf))->router_bias);
  EXPECT_EQ(Values(source).at("layers.1.feed_forward.gate.bias"),
            Values(folder.path() / "hf")
                .at("model.layers.1.block_sparse_moe.gate.e_score_correction_bias"));
}

TEST(Convert, KeepsEveryHashOfTheReferenceFoldersThereAndBack) {
  OCTET_NEEDS_SHARED_DATA();
  const auto models = testing::SharedData() / "reference/models";
  int folders = 0;
  for (const auto& entry : fs::recursive_directory_iterator(models)) {
    if (entry.path().filename() != "config.json") continue;
    const testing::TempFolder folder;
    const auto source = entry.path().parent_path();
    MustConvert(source, folder / "m.gguf");
    MustConvert(folder / "m.gguf", folder / "back");
    EXPECT_EQ(Digests(folder / "back"), Digests(source)) << source;
    ++folders;
  }
  EXPECT_GE(folders, 9);
}

TEST(Convert, KeepsEveryHashOfTheReferenceGgufsThereAndBack) {
  OCTET_NEEDS_SHARED_DATA();
  const auto models = testing::SharedData() / "reference/models";
  for (const char* name :
       {"llama-tiny/gguf/llama-tiny-F32.gguf", "llama-tiny/gguf/llama-tiny-F16.gguf",
        "mixtral-tiny/gguf/mixtral-tiny-F16.gguf"}) {
    const testing::TempFolder folder;
    MustConvert(models / name, folder / "hf");
    MustConvert(folder / "hf", folder / "back.gguf");
    EXPECT_EQ(Digests(folder / "back.gguf"), Digests(models / name)) << name;
  }
  const testing::TempFolder folder;
  const auto quantised = models / "mixtral-hd128/gguf/mixtral-hd128-Q4_K.gguf";
  MustConvert(quantised, folder / "same.gguf");
  EXPECT_EQ(Digests(folder / "same.gguf"), Digests(quantised));
}

/// The same model as two programs wrote it: only the right row orders make them equal.
TEST(Convert, AgreesWithOtherPrograms) {
  OCTET_NEEDS_SHARED_DATA();
  const auto models = testing::SharedData() / "reference/models";
  const testing::TempFolder folder;
  MustConvert(models / "mixtral-tiny/mistral-bf16-pth", folder / "pth.gguf");
  MustConvert(folder / "pth.gguf", folder / "pth");
  EXPECT_EQ(Digests(folder / "pth"), Digests(models / "mixtral-tiny/hf-bf16-sharded"));
  MustConvert(models / "mixtral-tiny/hf-bf16-sharded", folder / "f16.gguf", ConvertType::kF16);
  EXPECT_EQ(Digests(folder / "f16.gguf"),
            Digests(models / "mixtral-tiny/gguf/mixtral-tiny-F16.gguf"));
  MustConvert(models / "mixtral-odd-top3/gguf/mixtral-odd-top3-F16-split-experts.gguf",
              folder / "split");
  EXPECT_EQ(Digests(folder / "split"), Digests(models / "mixtral-odd-top3/hf-f16"));
  MustConvert(models / "mixtral-tiny-swa/mistral-bf16-st", folder / "swa");
  EXPECT_EQ(Digests(folder / "swa"), Digests(models / "mixtral-tiny-swa/hf-bf16"));
}

TEST(Convert, WritesTheKeysThatOtherProgramsRead) {
  OCTET_NEEDS_SHARED_DATA();
  const auto reference = testing::SharedData() / "reference";
  const testing::TempFolder folder;
  ConvertOptions options;
  options.tokenizer = reference / "tokenizer/tokenizer.model";
  MustConvert(reference / "models/mixtral-tiny/hf-bf16-sharded", folder / "mixtral-tiny.gguf",
              ConvertType::kF16, options);
  const auto ours = OpenGguf(folder / "mixtral-tiny.gguf");
  const auto theirs = OpenGguf(reference / "models/mixtral-tiny/gguf/mixtral-tiny-F16.gguf");
  for (const auto& [key, value] : (*theirs)->metadata().values()) {
    if (key == "general.name") continue;
    ASSERT_TRUE((*ours)->metadata().values().contains(key)) << key;
    EXPECT_EQ((*ours)->metadata().values().at(key), value) << key;
    EXPECT_EQ((*ours)->metadata().TypeOf(key), (*theirs)->metadata().TypeOf(key)) << key;
  }
}

TEST(Convert, CarriesTheVocabularyFromGgufToAFolderAndBack) {
  OCTET_NEEDS_SHARED_DATA();
  const auto source =
      testing::SharedData() / "reference/models/mixtral-tiny/gguf/mixtral-tiny-F16.gguf";
  const testing::TempFolder folder;
  MustConvert(source, folder / "hf");
  EXPECT_TRUE(fs::exists(folder / "hf/tokenizer_config.json"));
  MustConvert(folder / "hf", folder / "back.gguf");
  const auto before = OpenGguf(source), after = OpenGguf(folder / "back.gguf");
  for (const auto& [key, value] : (*before)->metadata().values()) {
    if (!key.starts_with("tokenizer.")) continue;
    ASSERT_TRUE((*after)->metadata().values().contains(key)) << key;
    EXPECT_EQ((*after)->metadata().values().at(key), value) << key;
  }
}

TEST(Convert, SplitsAndMergesGguf) {
  const testing::TempFolder folder;
  const ModelConfig config = testing::TinyConfig();
  testing::WriteTinyCheckpoint(folder / "in", config, Naming::kHfSplit, Format::kF32);
  MustConvert(folder / "in", folder / "whole.gguf");
  ConvertOptions options;
  options.max_part_bytes = 4000;
  const ConvertReport report = MustConvert(folder / "in", folder / "parts.gguf", {}, options);
  ASSERT_GT(report.files.size(), 2u);
  EXPECT_FALSE(fs::exists(folder / "parts.gguf"));
  MustConvert(report.files[1], folder / "merged.gguf");
  EXPECT_EQ(Digests(folder / "merged.gguf"), Digests(folder / "whole.gguf"));
  EXPECT_EQ(OpenGguf(folder / "merged.gguf").value()->metadata().Uint("split.count"), std::nullopt);
}

TEST(Convert, StoresRowsThatAreNoMultipleOfBlocksAsF16) {
  const testing::TempFolder folder;
  ModelConfig config = testing::TinyConfig();
  config.d_model = 32;
  testing::WriteTinyCheckpoint(folder / "in", config, Naming::kHfSplit, Format::kF32);
  const auto report = MustConvert(folder / "in", folder / "q.gguf", ConvertType::kQ8_0);
  const auto file = OpenGguf(folder / "q.gguf");
  EXPECT_EQ((*file)->Find("blk.0.ffn_gate_exps.weight")->format, Format::kQ8_0);
  EXPECT_EQ((*file)->Find("blk.0.ffn_down_exps.weight")->format, Format::kF16);  // rows of d_ff 10
  EXPECT_EQ((*file)->Find("blk.0.ffn_gate_inp.weight")->format, Format::kF32);
  EXPECT_THAT(report.notes, ::testing::Contains(HasSubstr("F16")));
}

TEST(Convert, RefusesWhatTheDestinationCannotHold) {
  const testing::TempFolder folder;
  ModelConfig config = testing::TinyConfig(0);
  config.d_model = 32;
  testing::WriteTinyCheckpoint(folder / "in", config, Naming::kHfSplit, Format::kF32);
  ConvertOptions options;
  options.type = ConvertType::kQ8_0;
  EXPECT_THAT(ConvertError(folder / "in", folder / "out", ErrorCode::kInvalidArgument, options),
              HasSubstr("Q8_0"));
  MustConvert(folder / "in", folder / "q.gguf", ConvertType::kQ8_0);
  options.type = ConvertType::kKeep;
  EXPECT_THAT(ConvertError(folder / "q.gguf", folder / "out", ErrorCode::kInvalidArgument, options),
              HasSubstr("--type bf16"));
  const auto decoded = MustConvert(folder / "q.gguf", folder / "out");
  EXPECT_THAT(decoded.notes, ::testing::Contains(HasSubstr("decoded to BF16")));
}

TEST(Convert, RefusesToMakeInfinitiesOfLargeValues) {
  const testing::TempFolder folder;
  const ModelConfig config = testing::TinyConfig(0);
  testing::WriteTinyCheckpoint(folder / "in", config, Naming::kHfSplit, Format::kF32);
  std::fstream file(folder / "in/model.safetensors",
                    std::ios::in | std::ios::out | std::ios::binary);
  const float large = 65520;
  file.seekp(-static_cast<int>(sizeof large), std::ios::end);  // the last tensor: some projection
  file.write(reinterpret_cast<const char*>(&large), sizeof large);
  file.close();
  ConvertOptions options;
  options.type = ConvertType::kF16;
  EXPECT_THAT(ConvertError(folder / "in", folder / "out", ErrorCode::kUnsupported, options),
              HasSubstr("F16 cannot hold"));
  EXPECT_FALSE(fs::exists(folder / "out.partial"));  // the same attempt would fail again
  MustConvert(folder / "in", folder / "out", ConvertType::kBf16);
}

TEST(Convert, NeverReplacesUnasked) {
  const testing::TempFolder folder;
  testing::WriteTinyCheckpoint(folder / "in", testing::TinyConfig(), Naming::kHfSplit,
                               Format::kF32);
  MustConvert(folder / "in", folder / "out.gguf");
  MustConvert(folder / "in", folder / "out");
  using enum ErrorCode;
  EXPECT_THAT(ConvertError(folder / "in", folder / "out.gguf", kInvalidArgument),
              HasSubstr("--force"));
  EXPECT_THAT(ConvertError(folder / "in", folder / "out", kInvalidArgument), HasSubstr("--force"));
  EXPECT_THAT(ConvertError(folder / "in", folder / "in", kInvalidArgument), HasSubstr("both"));
  ConvertOptions force;
  force.force = true;
  MustConvert(folder / "in", folder / "out.gguf", {}, force);
  MustConvert(folder / "in", folder / "out", {}, force);
  ASSERT_TRUE(WriteFileAtomically(folder / "out/thesis.txt", "years of work"));
  EXPECT_THAT(ConvertError(folder / "in", folder / "out", kInvalidArgument, force),
              HasSubstr("thesis.txt"));
  EXPECT_TRUE(fs::exists(folder / "out/config.json"));
}

/// Leaves what an interruption after `bytes` of the partial file leaves.
void Interrupt(const fs::path& from, const fs::path& to, const std::string& whole, size_t bytes) {
  const std::atomic<bool> stop = true;
  ConvertOptions options;
  options.stop = &stop;
  options.force = true;
  EXPECT_THAT(ConvertError(from, to, ErrorCode::kCancelled, options), HasSubstr("--resume"));
  std::ofstream(to.string() + ".partial", std::ios::binary | std::ios::trunc)
      << whole.substr(0, bytes);
}

TEST(Convert, ResumesAnInterruptedGguf) {
  const testing::TempFolder folder;
  testing::WriteTinyCheckpoint(folder / "in", testing::TinyConfig(), Naming::kHfSplit,
                               Format::kF32);
  MustConvert(folder / "in", folder / "whole.gguf");
  const std::string whole = Bytes(folder / "whole.gguf");
  ConvertOptions resume;
  resume.resume = true;
  const auto out = folder / "out.gguf";
  for (const size_t bytes : {size_t{0}, size_t{100}, whole.size() / 2, whole.size() - 1}) {
    fs::remove(out);
    Interrupt(folder / "in", out, whole, bytes);
    EXPECT_FALSE(fs::exists(out));
    const auto report = MustConvert(folder / "in", out, {}, resume);
    EXPECT_EQ(Bytes(out), whole);
    EXPECT_EQ(report.resumed_bytes > 0, bytes > whole.size() / 3) << bytes;
    EXPECT_FALSE(fs::exists(out.string() + ".partial.job"));
  }
}

TEST(Convert, ResumesAnInterruptedFolder) {
  const testing::TempFolder folder;
  testing::WriteTinyCheckpoint(folder / "in", testing::TinyConfig(), Naming::kMistral,
                               Format::kBf16);
  MustConvert(folder / "in", folder / "whole");
  const std::atomic<bool> stop = true;
  ConvertOptions options;
  options.stop = &stop;
  ConvertError(folder / "in", folder / "out", ErrorCode::kCancelled, options);
  EXPECT_FALSE(fs::exists(folder / "out"));
  EXPECT_TRUE(fs::exists(folder / "out.partial"));
  ConvertOptions resume;
  resume.resume = true;
  MustConvert(folder / "in", folder / "out", {}, resume);
  EXPECT_EQ(Digests(folder / "out"), Digests(folder / "whole"));
  EXPECT_FALSE(fs::exists(folder / "out.partial"));
}

TEST(Convert, ContinuesOnlyTheSameJob) {
  const testing::TempFolder folder;
  const auto out = folder / "out.gguf";
  testing::WriteTinyCheckpoint(folder / "in", testing::TinyConfig(), Naming::kHfSplit,
                               Format::kF32);
  testing::WriteTinyCheckpoint(folder / "other", testing::TinyConfig(), Naming::kHfSplit,
                               Format::kF32);
  Interrupt(folder / "in", out, "", 0);
  using enum ErrorCode;
  EXPECT_THAT(ConvertError(folder / "in", out, kInvalidArgument), HasSubstr("--resume"));
  ConvertOptions resume;
  resume.resume = true;
  EXPECT_THAT(ConvertError(folder / "other", out, kInvalidArgument, resume),
              HasSubstr("another source"));
  resume.type = ConvertType::kBf16;
  EXPECT_THAT(ConvertError(folder / "in", out, kInvalidArgument, resume), HasSubstr("options"));
  ConvertOptions force;
  force.force = true;
  MustConvert(folder / "other", out, {}, force);
  EXPECT_FALSE(fs::exists(out.string() + ".partial"));
}

TEST(Convert, NamesTheMissingTensor) {
  const testing::TempFolder folder;
  ModelConfig config = testing::TinyConfig();
  testing::WriteTinyCheckpoint(folder / "in", config, Naming::kHfSplit, Format::kF32);
  config.n_layers = 3;
  ASSERT_TRUE(WriteFileAtomically(folder / "in/config.json",
                                  testing::TinyJson(config, Naming::kHfSplit).dump()));
  EXPECT_THAT(ConvertError(folder / "in", folder / "out.gguf", ErrorCode::kNotFound),
              HasSubstr("model.layers.2."));
  EXPECT_FALSE(fs::exists(folder / "out.gguf.partial"));
}

TEST(Convert, WritesAModelThatIsNotInFilesAsItIs) {
  const testing::TempFolder folder;
  const fs::path out = folder.path() / "synthetic.gguf";
  ConvertSource source;
  source.checkpoint = SmallSynthetic();
  const auto report = ConvertOpened(std::move(source), out, {});
  ASSERT_TRUE(report) << report.error().message;
  const Checkpoint written = *OpenCheckpoint(out);
  const Checkpoint again = SmallSynthetic();
  // Experts are separate in memory and one tensor in the file.
  for (const char* which : {"gate", "down", "up"}) {
    const std::string name = fmt::format("blk.1.ffn_{}", which);
    const TensorInfo* merged = written.tensors->Find(name + "_exps.weight");
    ASSERT_NE(merged, nullptr);
    const auto merged_bytes = *written.tensors->Data(*merged);
    for (int expert = 0; expert < 4; ++expert) {
      const auto bytes =
          *again.tensors->Data(*again.tensors->Find(fmt::format("{}.{}.weight", name, expert)));
      const auto part = merged_bytes.subspan(expert * bytes.size(), bytes.size());
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), part.begin(), part.end()));
    }
  }
  const auto head = *written.tensors->Data(*written.tensors->Find("output.weight"));
  const auto expected = *again.tensors->Data(*again.tensors->Find("output.weight"));
  EXPECT_TRUE(std::equal(head.begin(), head.end(), expected.begin(), expected.end()));
}

}  // namespace
}  // namespace octet
