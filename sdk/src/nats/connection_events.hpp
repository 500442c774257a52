#pragma once

// What nats.c tells of a connection, on threads of its own: cuts, returns, refusals, the end.

#include "nats/connection_state.hpp"

namespace tidings {

/// Sets the callbacks, which write into `state`.
void watch(natsOptions* options, Connection::State& state);

}  // namespace tidings
