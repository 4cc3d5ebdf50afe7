#include "quant/format.h"

#include <cctype>

namespace octet {}  // namespace octet
