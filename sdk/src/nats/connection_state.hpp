#pragma once

// What a connection shares with nats.c's callbacks.

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
  /// nats/native.hpp gives out the handles.
  static State& of(const Connection& connection) noexcept { return *connection.state_; }

  ConnectionOptions options;
  OptionsPtr nats_options;
  natsConnection* connection = nullptr;
  jsCtx* jetstream = nullptr;

  std::atomic<bool> connected{false};
  std::atomic<std::uint64_t> generation{0};
  std::atomic<bool> closing{false};  // by its owner: not worth a line in the log

  std::mutex mutex;
  std::condition_variable changed;
  Observer observer;                        // under mutex, also while it runs
  bool closed = false;                      // under mutex
  std::vector<std::shared_ptr<void>> kept;  // under mutex
  std::string last_error;
  PermissionErrors refusals;           // under mutex
  int hang_ups = 0;                    // in a row, after the TLS handshake and before the first connection
  int tls_refusals = 0;                // under mutex: in a row, since the connection was lost
  std::optional<std::string> refused;  // under mutex: what the latest of too many refusals said

  void tell(bool now_connected) {
    const std::lock_guard lock{mutex};
    connected = now_connected;
    if (observer) observer(now_connected);
  }
};

}  // namespace tidings
