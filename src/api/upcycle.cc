#include "octet/upcycle.h"

#include "api/guard.h"
#include "ptq/convert.h"

namespace octet {

Result<ConvertReport> Upcycle(const std::filesystem::path& source,
                              const std::filesystem::path& destination,
                              const UpcycleOptions& options) {
  return Guarded([&]() -> Result<ConvertReport> {
    if (options.experts < 1) {
      return Err(ErrorCode::kInvalidArgument, "{} experts; expected 1 to 1024", options.experts);
    }
    Reshape reshape;
    reshape.experts = options.experts;
    reshape.experts_per_token = options.experts_per_token;
    reshape.noise = options.noise;
    reshape.router_std = options.router_std;
    reshape.seed = options.seed;
    reshape.kv_heads = options.write.kv_heads;
    ConvertChanges changes;
    changes.reshape = &reshape;
    return ConvertCheckpoint(source, destination, options.write, changes);
  });
}

}  // namespace octet
