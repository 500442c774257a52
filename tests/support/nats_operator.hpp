#pragma once

// Who may log in at a server with an operator: keys and signed tokens (JWT), made for each test.

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace tidings::test {

/// An operator with a system account and one account that may use JetStream without limits. The
/// credentials of another operator's account are those of a stranger.
class NatsOperator {
 public:
  NatsOperator();
  ~NatsOperator();

  /// For the configuration file of a server.
  [[nodiscard]] std::string config() const;

  /// What a credentials file of a new user of the account holds: its token, and the seed of its key.
  [[nodiscard]] std::string credentials(
      std::optional<std::chrono::system_clock::time_point> expires = std::nullopt) const;

 private:
  struct Keys;
  std::unique_ptr<Keys> keys_;
};

}  // namespace tidings::test
