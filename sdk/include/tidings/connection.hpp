#pragma once

// One connection to NATS that never gives up: it waits for a server, and comes back by itself after every
// cut.

#include <tidings/error.hpp>
#include <tidings/settings.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace tidings {

struct ConnectionOptions {
  std::vector<std::string> urls{"nats://localhost:4222"};  ///< tried in turn
  /// Shown in the server's connection list. Empty: the group of a consumer, `tidings` otherwise.
  std::string name{};

  // The first of these that is set is the login.
  std::string credentials_file{};  ///< .creds (JWT and seed)
  std::string nkey_seed_file{};
  std::string user{}, password{};
  std::string token{};

  /// Answers come to subjects below it. A user that may subscribe only to its own needs one of its own;
  /// otherwise others in the account could read its answers.
  std::string inbox_prefix = "_INBOX";

  // Which JetStream: at most one of the two. Without them it is that of the account that was logged in to.
  /// Of another server that leaf nodes lead to: its API is `$JS.<domain>.API`.
  std::string jetstream_domain{};
  /// Under which the account imports the API of another account: `JS.other.API`, without a final dot.
  std::string jetstream_api_prefix{};

  std::string ca_file{};                ///< trusts this CA; turns TLS on
  std::string cert_file{}, key_file{};  ///< client certificate for mutual TLS

  std::chrono::milliseconds connect_timeout{2000};

  /// NATS_URL (comma list) or NATS_HOST and NATS_PORT, NATS_CREDS, NATS_NKEY, NATS_USER,
  /// NATS_PASSWORD, NATS_TOKEN, NATS_INBOX_PREFIX, NATS_JS_DOMAIN, NATS_JS_API_PREFIX, NATS_CA, NATS_CERT,
  /// NATS_KEY. Throws SettingError.
  [[nodiscard]] static ConnectionOptions from_environment();
};

/// Thread-safe. Destroying it flushes for at most a second, then closes. Several consumers and processors may
/// share one: it must outlive their runs, and none of them closes it.
class Connection {
 public:
  /// Called from a NATS thread at each change of state. All observers are called by the same thread, one
  /// after the other: each must return quickly, not throw, and neither begin nor end an observation.
  using Observer = std::function<void(bool connected)>;
  /// The observer is called for as long as this lives; empty for none. Its end waits for a call that is
  /// running. May outlive the connection.
  using Observation = std::shared_ptr<void>;

  /// Tries until a server answers, at least once a second; `on_failure` is told why not, after each try, by
  /// the calling thread. Throws NatsError when the server refuses the login, since waiting would not help,
  /// and a retryable one when `stop` is requested first.
  Connection(ConnectionOptions options, const std::stop_token& stop,
             const std::function<void(const Error&)>& on_failure = {});

  /// One try; throws NatsError when no server answers.
  explicit Connection(ConnectionOptions options);
  ~Connection();

  [[nodiscard]] bool connected() const noexcept;

  /// Throws NatsError when the connection is lost for good: the server refuses the login that it took
  /// before, or, for some 5 s, the two refuse each other's certificate.
  void require_open() const;

  /// Grows by one with each cut. What was sent before it and is not confirmed may or may not have arrived.
  [[nodiscard]] std::uint64_t generation() const noexcept;

  /// The largest message (headers and payload) that the server takes, in bytes.
  [[nodiscard]] std::int64_t max_payload() const;

  /// A subject for answers that nobody else has.
  [[nodiscard]] std::string new_inbox() const;

  /// What the server has refused within the last 10 s, in its words, empty for nothing: the likely reason for
  /// an answer that does not come. It is logged, too. `concerns` chooses among what was refused to all who
  /// share the connection.
  [[nodiscard]] std::string refusal(const std::function<bool(std::string_view text)>& concerns = {}) const;

  /// Beside other observers.
  [[nodiscard]] Observation observe(Observer observer);

  /// Writes what is buffered and waits for the server's PONG. False on timeout or cut.
  bool flush(std::chrono::milliseconds timeout);

  /// Destroys `handle` only after the connection is closed: a subscription that ends while a message for it
  /// is on its way crashes older nats.c (nats.c #637).
  void keep(std::shared_ptr<void> handle);

  struct State;  ///< opaque

 private:
  std::unique_ptr<State> state_;
};

}  // namespace tidings
