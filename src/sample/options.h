// The sampling options, under sample so that modules include only their neighbours below.
#pragma once

#include "octet/sampling.h"  // IWYU pragma: export
