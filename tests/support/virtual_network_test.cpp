#include "support/virtual_network.hpp"

#include "support/nats_server.hpp"
#include "support/wait.hpp"

#include <memory>

using namespace tidings::test;

TEST_CASE("a host of a network is heard by nobody while it is cut off, and by all again later") {
  if (!VirtualNetwork::possible()) {
    WARN("not tested: this user may not make network namespaces");
    return;
  }
  const auto outside = std::make_unique<NatsServer>();
  {
    VirtualNetwork network{2};
    NatsServer server{
        {.config = {}, .arguments = {}, .jetstream = false, .monitoring = false, .host = network.host(1)}};
    CHECK(greeting(outside->port()).empty());  // what was there before is not to be seen from here
    CHECK(greeting(server.port(), server.address()).starts_with("INFO "));
    network.cut_off(1);
    CHECK(greeting(server.port(), server.address()).empty());
    network.join(1);
    REQUIRE_WITHIN(10s, greeting(server.port(), server.address()).starts_with("INFO "));
  }
  CHECK(greeting(outside->port()).starts_with("INFO "));
}
