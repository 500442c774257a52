#pragma once

// Real relays on one outbox and one broker, and the services that commit to it meanwhile.

#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/process.hpp"

#include <atomic>
#include <chrono>
#include <limits>
#include <mutex>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace tidings::test {

/// What is wrong once all is published: ledger(), rows that are not PUBLISHED, attempts used. Empty
/// when all is well.
[[nodiscard]] std::string audit(const Outbox& outbox, const std::vector<StoredMessage>& stream);

class Relays {
 public:
  using Settings = std::vector<std::pair<std::string, std::string>>;

  /// The outbox's folder is made in `parent`.
  explicit Relays(const std::filesystem::path& parent = std::filesystem::temp_directory_path(),
                  NatsServerOptions options = {});
  explicit Relays(Engine engine, NatsServerOptions options = {});

  /// `tidings relay` with a lease of 1 s and quick retries, unless `settings` says otherwise.
  [[nodiscard]] Process start(const Settings& settings = {},
                              const std::vector<std::string>& arguments = {}) const;
  /// The same under strace, which makes system calls fail as `inject` says: `fsync:error=EIO:when=2`.
  /// The process is the relay itself, strace a child of it.
  [[nodiscard]] Process start_with_fault(const std::string& inject, const Settings& settings = {}) const;

  // The lease as the table shows it; 0 and empty while nobody ever held it.

  [[nodiscard]] std::int64_t epoch() const;
  [[nodiscard]] std::string holder() const;
  [[nodiscard]] pid_t active() const;  ///< the process that took it last
  /// As if its time had passed: spares a test that knows the holder to be dead the wait.
  void expire_lease() { outbox.execute("UPDATE outbox_lease SET expiresAt = 0"); }

  [[nodiscard]] std::int64_t published() const { return outbox.count_status("PUBLISHED"); }
  [[nodiscard]] bool all_published() const { return outbox.count("status <> 'PUBLISHED'") == 0; }
  [[nodiscard]] std::string audit();  ///< of AUTH_EVENTS

  NatsServer server;
  JetStream jetstream;
  Outbox outbox;

 private:
  [[nodiscard]] ProcessOptions options(const Settings& settings) const;
};

/// True when strace is there and may trace.
[[nodiscard]] bool can_inject_faults();

struct Load {
  int writers = 4;  ///< threads, each with a connection of its own
  int aggregates = 20;
  int largest_commit = 8;                             ///< events
  int commits = std::numeric_limits<int>::max();      ///< of each writer
  std::chrono::microseconds longest_pause{4000};      ///< between commits
  std::chrono::microseconds longest_pause_inside{0};  ///< between the events of a transaction
  unsigned seed = 1;
};

/// Services that commit events of random aggregates. One whose commit fails for a reason that may pass
/// tries again, as another event.
class Writers {
 public:
  Writers(const Outbox& outbox, const Load& load) : Writers(outbox.url(), load) {}
  Writers(const std::string& database, const Load& load);
  Writers(const Writers&) = delete;
  Writers& operator=(const Writers&) = delete;

  /// Waits for what is being committed. Throws what a writer threw.
  void stop();
  /// Waits until each has made its `commits`; throws like stop().
  void finish();
  [[nodiscard]] std::int64_t committed() const noexcept { return committed_; }  ///< events
  [[nodiscard]] std::int64_t refused() const noexcept { return refused_; }      ///< commits that failed

 private:
  void write(const std::stop_token& stop, const std::string& url, const Load& load, unsigned seed);

  std::atomic<std::int64_t> committed_{0}, refused_{0};
  std::mutex mutex_;
  std::string error_;  // under mutex
  std::vector<std::jthread> threads_;
};

/// TIDINGS_SEED from the environment, or else another one each time: INFO it.
[[nodiscard]] unsigned random_seed();

/// A pause that is a test's load, never its synchronisation.
void random_pause(std::mt19937& random, std::chrono::microseconds shortest,
                  std::chrono::microseconds longest);

/// How often `text` occurs in `log`.
[[nodiscard]] int occurrences(const std::string& log, const std::string& text);

}  // namespace tidings::test
