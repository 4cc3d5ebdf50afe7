#include "api/train_metrics.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/file.h"
#include "base/function_ref.h"

namespace octet {
namespace {

using nlohmann::ordered_json;

ordered_json LineOf(const TrainUpdate& u) {
  ordered_json line = {{"step", u.step},      {"loss", u.loss},
                       {"rate", u.rate},      {"grad_norm", u.grad_norm},
                       {"tokens", u.tokens},  {"tokens_per_s", u.tokens_per_s},
                       {"seconds", u.seconds}};
  if (u.peak_share > 0) line["peak_share"] = u.peak_share;
  if (u.dropped > 0) line["dropped"] = u.dropped;
  if (u.skipped) line["skipped"] = true;
  if (!u.warning.empty()) line["warning"] = u.warning;
  if (!u.load.empty()) {
    line["balance"] = u.balance;
    line["router_z"] = u.router_z;
    line["load"] = u.load;
  }
  if (u.accuracy > 0) line["accuracy"] = u.accuracy;
  for (const HeldOutLoss& loss : u.held_out) {
    line["held_out"][loss.source] = {{"loss", loss.loss}};
    ordered_json& object = line["held_out"][loss.source];
    if (loss.bits_per_byte > 0) object["bits_per_byte"] = loss.bits_per_byte;
    if (!loss.margins.empty() || loss.accuracy > 0) object["accuracy"] = loss.accuracy;
    if (!loss.margins.empty()) object["margins"] = loss.margins;
  }
  return line;
}

/// A line's numbers under the names TensorBoard groups them by. What was not finite, JSON has as
/// null.
std::vector<Scalar> ScalarsOf(const ordered_json& line) {
  std::vector<Scalar> scalars;
  const auto add = [&](std::string name, const ordered_json& object, const char* key) {
    const auto found = object.find(key);
    if (found != object.end() && found->is_number()) scalars.push_back({std::move(name), *found});
  };
  for (const char* name : {"loss", "rate", "grad_norm", "tokens_per_s", "peak_share", "balance",
                           "router_z", "dropped", "accuracy"}) {
    add(std::string("train/") + name, line, name);
  }
  if (line.contains("held_out")) {
    for (const auto& [source, loss] : line["held_out"].items()) {
      add("held_out/" + source, loss, "loss");
      add("bits_per_byte/" + source, loss, "bits_per_byte");
      add("accuracy/" + source, loss, "accuracy");
    }
  }
  return scalars;
}

Status AppendEvent(EventFile& events, const ordered_json& line) {
  return events.Append(line.value("seconds", 0.0), line.value("step", int64_t{0}), ScalarsOf(line));
}

/// Opens a file of JSON lines to append to; those of updates after `step` are dropped, the others
/// shown to `keep`.
Result<std::ofstream> OpenLines(const std::filesystem::path& path, int64_t step,
                                FunctionRef<Status(const ordered_json&)> keep) {
  std::string kept, line;
  std::ifstream before(path);
  while (std::getline(before, line)) {
    const auto object = ordered_json::parse(line, nullptr, false);
    if (!object.is_object() || object.value("step", int64_t{0}) > step) continue;
    kept += line + "\n";
    OCTET_TRY(keep(object));
  }
  OCTET_TRY(WriteFileAtomically(path, kept));
  std::ofstream file(path, std::ios::app);
  if (!file) return Err(ErrorCode::kIo, "{}: cannot be written", path.string());
  return file;
}

}  // namespace

Result<MetricsFiles> MetricsFiles::Open(const std::filesystem::path& folder, int64_t step) {
  // The name tells TensorBoard what it is. It is written anew, so that it never holds an update
  // twice.
  OCTET_ASSIGN(EventFile events, EventFile::Create(folder / "events.out.tfevents.0.octet"));
  MetricsFiles files(std::move(events));
  files.folder_ = folder;
  OCTET_ASSIGN(files.metrics_,
               OpenLines(folder / "metrics.jsonl", step, [&](const ordered_json& line) {
                 return AppendEvent(files.events_, line);
               }));
  OCTET_ASSIGN(files.samples_, OpenLines(folder / "samples.jsonl", step,
                                         [](const ordered_json&) { return Status(); }));
  return files;
}

Status MetricsFiles::Append(const TrainUpdate& update) {
  const ordered_json line = LineOf(update);
  metrics_ << line.dump() << '\n' << std::flush;
  for (const TrainSample& sample : update.samples) {
    const ordered_json object = {
        {"step", update.step}, {"prompt", sample.prompt}, {"text", sample.text}};
    // A sample may end within a character.
    samples_ << object.dump(-1, ' ', false, ordered_json::error_handler_t::replace) << '\n'
             << std::flush;
  }
  if (!metrics_ || !samples_)
    return Err(ErrorCode::kIo, "{}: metrics cannot be written", folder_.string());
  return AppendEvent(events_, line);
}

Result<std::vector<double>> HeldOutBytes(const Mixture& mixture, const ModelConfig& config,
                                         const Tokenizer& tokenizer, int64_t context) {
  std::vector<double> ratios;
  for (const Source& source : mixture.sources()) {
    double bytes = 0, tokens = 0;
    for (int64_t d = source.documents; d < source.tokens.documents(); ++d) {
      if (source.kind != DocumentKind::kText) break;
      const int64_t n = std::min(source.tokens.Size(d), context);
      std::vector<int32_t> ids;
      OCTET_TRY(source.tokens.Read(d, 0, n, config.vocab_size, ids));
      for (size_t i = 1; i < ids.size(); ++i) {
        bytes += static_cast<double>(tokenizer.TokenBytes(ids[i]).size());
        tokens += 1;
      }
    }
    ratios.push_back(tokens > 0 ? bytes / tokens : 0);
  }
  return ratios;
}

TrainUpdate ToUpdate(const UpdateReport& r, int64_t steps, const std::vector<std::string>& sources,
                     const std::vector<double>& bytes_per_token) {
  TrainUpdate u;
  u.step = r.step;
  u.steps = steps;
  u.loss = r.loss;
  u.balance = r.balance;
  u.router_z = r.z;
  u.accuracy = r.accuracy;
  u.rate = r.rate;
  u.grad_norm = r.grad_norm;
  u.dropped = r.dropped;
  u.skipped = r.skipped;
  u.tokens = r.tokens;
  u.seconds = r.seconds;
  u.tokens_per_s = r.tokens_per_s;
  u.warning = r.warning;
  for (size_t i = 0; i < r.held_out.size(); ++i) {
    const HeldOutValue& value = r.held_out[i];
    if (std::isnan(value.loss)) continue;
    const double bits =
        bytes_per_token[i] > 0 ? value.loss / std::numbers::ln2 / bytes_per_token[i] : 0;
    u.held_out.push_back({sources[i], value.loss, bits, value.accuracy, value.margins});
  }
  for (int64_t l = 0; l < r.routers.layers; ++l) {
    std::vector<double> shares;
    for (int64_t e = 0; e < r.routers.n_experts; ++e) {
      shares.push_back(
          static_cast<double>(r.routers.load[static_cast<size_t>(l * r.routers.n_experts + e)]) /
          static_cast<double>(r.routers.rows));
    }
    u.load.push_back(std::move(shares));
  }
  return u;
}

}  // namespace octet
