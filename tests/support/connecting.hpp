#pragma once

// Verbs for tests of the connection to NATS.

#include "nats/handle.hpp"
#include "support/nats_server.hpp"

#include <tidings/connection.hpp>

#include <nats/nats.h>

#include <array>
#include <string>

namespace tidings::test {

inline ConnectionOptions options_of(const std::string& url) {
  ConnectionOptions options;
  options.urls = {url};
  return options;
}

/// Without JetStream.
inline NatsServer server_with(const std::string& config) {
  return NatsServer{{.config = config, .arguments = {}, .jetstream = false, .monitoring = false}};
}

/// Of several servers.
inline std::string url_in_use(const Connection& connection) {
  std::array<char, 256> url{};
  natsConnection_GetConnectedUrl(native(connection), url.data(), url.size());
  return url.data();
}

}  // namespace tidings::test
