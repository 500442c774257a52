#pragma once

// A real nats-server, one per test: it starts in about 50 ms.

#include "support/loopback.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"
#include "support/virtual_network.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tidings::test {

struct NatsServerOptions {
  std::string config{};  ///< text of a configuration file: `authorization { token: "secret" }`
  std::vector<std::string> arguments{};  ///< further ones on the command line
  bool jetstream = true;
  bool monitoring = false;  ///< HTTP endpoint, see monitoring_url()
  Host host{};              ///< where it runs and listens
};

/// The program is TIDINGS_NATS_SERVER from the environment, or else nats-server from PATH. The port
/// and the store stay the same over stop() or kill() and start(). Not thread-safe.
class NatsServer {
 public:
  /// Starts it. Throws with the server's log when it does not come up.
  explicit NatsServer(NatsServerOptions options = {});

  void start();   ///< returns when clients can connect
  void stop();    ///< SIGTERM; returns when it has ended
  void kill();    ///< SIGKILL; returns when it has ended
  void pause();   ///< SIGSTOP; returns when it stands still: connections stay open and nothing answers
  void resume();  ///< SIGCONT
  /// Replaces the text of the configuration and sends SIGHUP; returns before the server has read it.
  /// JetStream must be turned on in that text, too: what the command line says of it does not survive
  /// (2.9.10).
  void reload(const std::string& config);

  [[nodiscard]] int port() const noexcept { return port_.number(); }
  [[nodiscard]] pid_t pid() const { return process_.value().pid(); }
  [[nodiscard]] const std::string& address() const noexcept { return options_.host.address; }
  [[nodiscard]] std::string url() const;             ///< `nats://127.0.0.1:PORT`
  [[nodiscard]] std::string monitoring_url() const;  ///< `http://127.0.0.1:PORT`
  [[nodiscard]] std::string log() const;             ///< of all starts

 private:
  void end(int signal);

  NatsServerOptions options_;
  TempDir folder_;
  ReservedPort port_, monitoring_port_;
  std::optional<Process> process_;
};

}  // namespace tidings::test
