#pragma once

// The events that benchmarks publish and consume, and raw nats.c publishing of them.

#include "user.hpp"

#include <tidings/event.hpp>

#include <string>
#include <vector>

namespace tidings::bench {

[[nodiscard]] User some_user(int number);

/// On the wire, as the relay sends them; each of a user of its own.
[[nodiscard]] std::vector<WireMessage> sample_messages(int count);

void purge(const std::string& url);

/// Seconds that js_PublishMsgAsync takes for all, from the first to the last PubAck. Subjects follow ce-type.
[[nodiscard]] double publish_raw(const std::string& url, const std::vector<WireMessage>& messages);

}  // namespace tidings::bench
