// A server in the test's own process, with the small model on two threads.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "octet/server.h"
#include "support/small_model.h"

namespace octet::testing {

inline std::unique_ptr<Server> StartServer(ServeOptions options = {}) {
  LoadOptions load;
  load.model = SmallModelPath();
  load.threads = 2;
  options.port = 0;
  auto server = Server::Start(load, options);
  EXPECT_TRUE(server) << server.error().message;
  return *std::move(server);
}

}  // namespace octet::testing
