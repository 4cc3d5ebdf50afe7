// OpenAI's /v1/embeddings.
#pragma once

#include <memory>

#include "server/host.h"
#include "server/http_types.h"

namespace octet {

/// Every input's vector is the mean over its tokens of what the model's head reads (after the last
/// norm), divided by its length: such models were not trained for it, so expect less of it than of
/// a model for embeddings.
void StartEmbeddings(Host& host, const std::shared_ptr<Exchange>& exchange);

}  // namespace octet
