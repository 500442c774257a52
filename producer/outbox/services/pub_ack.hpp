#pragma once

// What the stream answers to a publish: a PubAck, the event's refusal, or a transient error of the broker.

#include <tidings/event_publisher.hpp>

#include <nats/nats.h>

namespace tidings {

/// Leaves `token` to the caller, who knows which publish is answered.
[[nodiscard]] PublishResult read_pub_ack(natsMsg* message);

}  // namespace tidings
