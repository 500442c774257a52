#pragma once

// A server, and a connection that makes streams and groups on it. Included by tests of the insides.

#include "consumer/group.hpp"
#include "consumer/type_filter.hpp"
#include "support/catch.hpp"
#include "support/connecting.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"

#include <tidings/error.hpp>
#include <tidings/stream.hpp>

#include <string>

namespace tidings::test {

inline const TypeFilter all_events{"auth.events"};

struct StreamScene {
  NatsServer server;
  JetStream js{server.url()};
  Connection connection{options_of(server.url())};

  /// What is wrong with the stream; the error must be one that waiting does not help against.
  std::string fault(const StreamSpec& spec) {
    try {
      ensure_stream(connection, spec);
    } catch (const NatsError& error) {
      CHECK_FALSE(error.retryable());
      return error.what();
    }
    return "none";
  }

  std::string group_fault(const ConsumerOptions& options) {
    try {
      (void)join_group(connection, options, all_events);
    } catch (const NatsError& error) {
      CHECK_FALSE(error.retryable());
      return error.what();
    }
    return "none";
  }
};

inline ConsumerOptions mailer() {
  ConsumerOptions options;
  options.group = "mailer";
  return options;
}

}  // namespace tidings::test
