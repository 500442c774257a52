#pragma once

// A real PgBouncer before a PostgreSQL, as services are given one: in transaction mode
// a server session is a client's for the time of a transaction only.

#include "support/loopback.hpp"
#include "support/postgres_server.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"

#include <optional>
#include <string>

namespace tidings::test {

struct PgBouncerOptions {
  int sessions = 2;                 ///< with the server, that all clients share
  std::string mode{"transaction"};  ///< or session, statement
  std::string settings{};           ///< further lines of pgbouncer.ini
};

/// Its port stays the same over kill() and start(). Not thread-safe.
class PgBouncer {
 public:
  /// Starts it. Throws with its log when it does not come up.
  explicit PgBouncer(const PostgresServer& server, const PgBouncerOptions& options = {});

  void start();  ///< returns when clients can connect
  void kill();   ///< SIGKILL

  [[nodiscard]] std::string url() const;  ///< of the database `postgres`, no password needed
  [[nodiscard]] std::string log() const;

 private:
  TempDir folder_;
  ReservedPort port_;
  std::optional<Process> process_;
};

}  // namespace tidings::test
