#pragma once

// What a connection shares with nats.c's callbacks, which tell of cuts, returns, refusals and the end on
// threads of their own.

#include "nats/handle.hpp"
#include "nats/permission_errors.hpp"

#include <tidings/connection.hpp>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

struct Connection::State {
  explicit State(ConnectionOptions options);

  /// nats/handle.hpp gives out the handles.
  static State& of(const Connection& connection) noexcept { return *connection.state_; }

  void tell(bool now_connected);

  const ConnectionOptions options;
  OptionsPtr nats_options;
  natsConnection* connection = nullptr;
  jsCtx* jetstream = nullptr;

  std::atomic<bool> connected{false};
  std::atomic<std::uint64_t> generation{0};
  std::atomic<bool> closing{false};  // by its owner: not worth a line in the log
  int hang_ups = 0;                  // in a row, after the TLS handshake and before the first connection

  std::mutex mutex;
  std::condition_variable changed;
  // Under mutex:
  Observer observer;  // also while it runs
  bool closed = false;
  std::string last_error;  // why it is closed
  std::vector<std::shared_ptr<void>> kept;
  PermissionErrors refusals;
  int tls_refusals = 0;                // in a row, since the connection was lost
  std::optional<std::string> refused;  // what the latest of too many TLS refusals said
};

/// The server in use, without user info; empty when there is none.
[[nodiscard]] std::string server_of(natsConnection* connection);

}  // namespace tidings
