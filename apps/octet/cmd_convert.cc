// octet convert SRC DST: a checkpoint in another form.
#include <memory>

#include "command.h"
#include "convert_flags.h"
#include "octet/convert.h"

namespace octet::app {
namespace {

Status Run(const ConvertFlags& flags) {
  OCTET_ASSIGN(const ConvertOptions options, ReadConvertFlags(flags));
  OCTET_ASSIGN(const ConvertReport report, Convert(flags.source, flags.destination, options));
  PrintReport(report, flags.quiet);
  return {};
}

}  // namespace

void Add_convert(CLI::App& app) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* command =
      app.add_subcommand("convert", "Write a model as GGUF or as a Hugging Face folder");
  AddConvertFlags(command, *flags);
  OnRun(command, [flags] { return Run(*flags); });
}

}  // namespace octet::app
