// The project's Result and Error, under base so that modules include only their neighbours below.
#pragma once

#include "octet/error.h"  // IWYU pragma: export
