// Progress bars, under base so that modules include only their neighbours below.
#pragma once

#include "octet/progress.h"  // IWYU pragma: export
