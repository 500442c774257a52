#pragma once

// A real PostgreSQL, one per test: it starts in about 100 ms, since its first files are made
// once and unpacked, and since it has little memory of its own.

#include "support/loopback.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tidings::test {

/// The newest version that is installed. Port and data stay the same over kill() and start(). Not
/// thread-safe.
class PostgresServer {
 public:
  /// Tests kill processes, never the machine, so memory keeps their files as well as a disk does, where there
  /// is room: ext4 takes half a second to make a thousand files where as many have just been deleted.
  /// Measurements want the disk and its fsync.
  enum class Files { in_memory, on_disk };

  /// Starts it. `settings` are as in postgresql.conf: `max_connections=5`. Throws with the server's
  /// log when it does not come up.
  explicit PostgresServer(std::vector<std::string> settings = {}, Files files = Files::in_memory);
  ~PostgresServer();

  void start();             ///< returns when clients can connect
  void start_at(int port);  ///< and stays there
  void stop();              ///< SIGINT: ends its clients' connections in order
  void kill();              ///< SIGQUIT: as if it had crashed
  void pause();             ///< SIGSTOP to the postmaster: no new connections
  void resume();
  /// As after so many transactions that a month of load would make. Stopped; all rows are to be frozen
  /// before.
  void set_next_transaction(std::uint32_t id);

  [[nodiscard]] std::string url() const;  ///< of the database `postgres`, no password needed
  [[nodiscard]] int port() const noexcept { return moved_to_ > 0 ? moved_to_ : port_.number(); }
  [[nodiscard]] std::string log() const;

 private:
  void end(int signal);

  std::vector<std::string> settings_;
  TempDir folder_;
  ReservedPort port_;
  int moved_to_ = 0;
  std::optional<Process> process_;
};

}  // namespace tidings::test
