#pragma once

// What a group costs that handles one of twenty types, beside one that handles all of them.

#include "support/nats_server.hpp"

#include <tidings/event.hpp>

#include <vector>

namespace tidings::bench {

/// Seconds of CPU.
struct Cost {
  double server = 0;
  double instance = 0;
};

/// Purges the stream and fills it with the messages, as events of twenty types.
void publish_twenty_types(const test::NatsServer& server, const std::vector<WireMessage>& messages);

/// Of a new group that handles so many of the types, until it is done with what the stream holds.
[[nodiscard]] Cost cost_of_types(const test::NatsServer& server, int types, int events);

}  // namespace tidings::bench
