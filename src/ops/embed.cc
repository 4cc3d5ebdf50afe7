#include "ops/embed.h"

#include "base/check.h"
#include "ops/rows.h"

namespace octet {

void Embed(const WeightMatrix& table, std::span<const int32_t> tokens, View<float, 2> x,
           Context& context) {
  CHECK(table.layout == Layout::kRowMajor);
  const PartScope part(context.profile, StepPart::kEmbed);
  const FormatInfo& info = Info(table.format);
  const int64_t row_bytes = table.row_bytes();
  ForEachRow(static_cast<int64_t>(tokens.size()), table.cols, context, [&](int64_t t) {
    CHECK(tokens[t] >= 0 && tokens[t] < table.rows);
    info.decode(table.data + tokens[t] * row_bytes, table.cols, x[t].data);
  });
}

}  // namespace octet
