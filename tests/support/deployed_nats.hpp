#pragma once

// NATS as deploy/nats says: its files, unchanged, with the variables that they ask for.

#include "support/jetstream.hpp"
#include "support/loopback.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tidings::test {

using Environment = std::vector<std::pair<std::string, std::string>>;

[[nodiscard]] std::filesystem::path deploy_folder();
[[nodiscard]] std::string text_of(const std::filesystem::path& file);

/// What each user of deploy/nats/accounts.conf has to log in with.
struct Login {
  std::string user, password, inbox_prefix;

  [[nodiscard]] std::string url(int port) const;
  [[nodiscard]] Environment settings() const;  ///< as a program of ours reads them
};
[[nodiscard]] Login relay_login();
[[nodiscard]] Login mailer_login();  ///< the group welcome-mailer
[[nodiscard]] Login operator_login();
[[nodiscard]] Login monitor_login();

/// deploy/nats/accounts.conf with the passwords in it, for one server that is in no cluster.
[[nodiscard]] std::string accounts_with_passwords();

/// Three servers that run deploy/nats/cluster.conf. Not thread-safe.
class DeployedCluster {
 public:
  static constexpr std::size_t size = 3;

  /// Returns when JetStream has a leader. Throws with the servers' logs when that takes too long.
  DeployedCluster();

  [[nodiscard]] std::string urls() const;  ///< without a login
  [[nodiscard]] int port() const { return clients_.front().number(); }
  [[nodiscard]] std::string monitoring_url() const;
  [[nodiscard]] JetStream client(const Login& login,
                                 std::chrono::milliseconds timeout = std::chrono::seconds{10}) const;
  /// False also while nobody answers: a stream that is being made has no leader yet.
  [[nodiscard]] bool has_stream(const std::string& stream) const;
  [[nodiscard]] std::string log() const;  ///< of all three

 private:
  [[nodiscard]] Environment variables(std::size_t index) const;

  TempDir folder_;
  std::array<ReservedPort, size> clients_, routes_, monitoring_;
  std::array<std::optional<Process>, size> servers_;
};

}  // namespace tidings::test
