#include "octet/pack.h"

#include <optional>

#include "api/guard.h"
#include "cpu/isa.h"
#include "kernels/registry.h"
#include "model/packing.h"
#include "ptq/convert.h"

namespace octet {
namespace {

ConvertOptions OptionsOfConversion(const PackOptions& options) {
  ConvertOptions convert;
  static_cast<WriteOptions&>(convert) = options;
  convert.target = ConvertTarget::kGguf;
  return convert;
}

}  // namespace

Result<PackReport> PackModel(const std::filesystem::path& source,
                             const std::filesystem::path& destination, const PackOptions& options) {
  return Guarded([&]() -> Result<PackReport> {
    OCTET_ASSIGN(const uint32_t isa, SelectIsaFromEnvironment());
    const KernelTable kernels = SelectKernels(isa);
    ConvertChanges changes;
    changes.pack_for = &kernels;
    QuantizeChoice choice;
    if (!options.type.empty()) {
      QuantizeOptions types;
      types.type = options.type;
      OCTET_ASSIGN(choice, ChooseQuantisation(types));
      changes.quantize = &choice;
    }
    PackReport report;
    report.packed_for = IsaFamilyName(isa);
    OCTET_ASSIGN(report.written,
                 ConvertCheckpoint(source, destination, OptionsOfConversion(options), changes));
    return report;
  });
}

}  // namespace octet
