#pragma once

// A server, and who looks into it.

#include "support/jetstream.hpp"
#include "support/nats_server.hpp"

namespace tidings::test {

struct Broker {
  NatsServer server;
  JetStream jetstream{server.url()};
};

}  // namespace tidings::test
