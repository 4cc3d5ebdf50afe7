#include "api/train_metrics.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/file.h"

namespace octet {

namespace {

using nlohmann::ordered_json;

ordered_json LineOf(const TrainUpdate& u) {
  ordered_json line = {{"step", u.step},      {"loss", u.loss},
                       {"rate", u.rate},      {"grad_norm", u.grad_norm},
                       {"tokens", u.tokens},  {"tokens_per_s", u.tokens_per_s},
                       {"seconds", u.seconds}};
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
    if (loss.bits_per_byte > 0) line["held_out"][loss.source]["bits_per_byte"] = loss.bits_per_byte;
  }
  return line;
}

}  // namespace

Result<MetricsFile> MetricsFile::Open(const std::filesystem::path& path, int64_t step) {
  std::string kept, line;
  std::ifstream before(path);
  while (std::getline(before, line)) {
    const auto object = nlohmann::json::parse(line, nullptr, false);
    if (object.is_object() && object.value("step", int64_t{0}) <= step) kept += line + "\n";
  }
  OCTET_TRY(WriteFileAtomically(path, kept));
  MetricsFile metrics(path);
  metrics.file_.open(path, std::ios::app);
  if (!metrics.file_) return Err(ErrorCode::kIo, "{}: cannot be written", path.string());
  return metrics;
}

Status MetricsFile::Append(const TrainUpdate& update) {
  file_ << LineOf(update).dump() << '\n' << std::flush;
  if (!file_) return Err(ErrorCode::kIo, "{}: cannot be written", path_.string());
  return {};
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
  u.skipped = r.skipped;
  u.tokens = r.tokens;
  u.seconds = r.seconds;
  u.tokens_per_s = r.tokens_per_s;
  u.warning = r.warning;
  for (size_t i = 0; i < r.held_out.size(); ++i) {
    if (std::isnan(r.held_out[i])) continue;
    const double bits =
        bytes_per_token[i] > 0 ? r.held_out[i] / std::numbers::ln2 / bytes_per_token[i] : 0;
    u.held_out.push_back({sources[i], r.held_out[i], bits});
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
