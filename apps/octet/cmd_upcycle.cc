// octet upcycle DENSE DST: a mixture of experts that starts from a dense model.
#include "octet/upcycle.h"

#include <memory>

#include "command.h"
#include "convert_flags.h"

namespace octet::app {
namespace {

struct Flags {
  ConvertFlags write;
  UpcycleOptions options;
};

Status Run(Flags& flags) {
  OCTET_ASSIGN(flags.options.write, ReadConvertFlags(flags.write));
  OCTET_ASSIGN(const ConvertReport report,
               Upcycle(flags.write.source, flags.write.destination, flags.options));
  PrintReport(report, flags.write.quiet);
  return {};
}

}  // namespace

void Add_upcycle(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      app.add_subcommand("upcycle", "Make a mixture of experts of a dense model, to train on from");
  AddConvertFlags(command, flags->write);
  UpcycleOptions& options = flags->options;
  command->add_option("--experts", options.experts, "Experts a layer (default 8)");
  command->add_option("--top-k", options.experts_per_token, "Experts a token uses (default 2)");
  command->add_option(
      "--noise", options.noise,
      "Noise that makes experts differ, as a share of the weights' root mean square "
      "(default 0: all equal, and the result says what the dense model said)");
  command->add_option("--router-std", options.router_std,
                      "Standard deviation of the new routers' weights (default 0.02)");
  command->add_option("--seed", options.seed, "Seed of noise and routers (default 0)");
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
