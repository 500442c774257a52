#pragma once

// Notices that the file of an SQLite database was replaced while it is open: what is committed then is in a
// file that nobody else sees, and gone after a restart.

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

struct sqlite3;

namespace tidings {

/// The files that a connection has open, WAL and its index included: whether they are those at their paths.
/// Databases without a file are never lost. Not thread-safe.
class SqliteFile {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds interval{1};

  /// `connection` was opened with `path`, and must outlive this object.
  SqliteFile(sqlite3* connection, const std::string& path);
  /// Looks once more, before the connection is closed.
  ~SqliteFile();
  SqliteFile(const SqliteFile&) = delete;
  SqliteFile& operator=(const SqliteFile&) = delete;

  /// What has become of the file; empty while all is well, and the last word once it is not. Looks at the
  /// disk at most once in `interval`. To be called outside of transactions.
  [[nodiscard]] const std::string& lost(Clock::time_point time = Clock::now());

 private:
  /// A name, and the file that it led to.
  struct Place {
    std::string path;
    dev_t device;
    ino_t inode;
  };
  /// Change counter, schema cookie and number of pages, from the header of the database on the disk: it never
  /// gets smaller.
  using Age = std::array<std::uint32_t, 3>;

  [[nodiscard]] static std::optional<Place> find(const std::string& path);
  [[nodiscard]] static bool is_there(const Place& place);
  void watch(const std::optional<Place>& place);
  void lose(const std::string& path);
  [[nodiscard]] std::optional<Age> read_age() const;
  void look();

  sqlite3* const connection_;
  std::vector<Place> places_;  // the first one is that of the database
  std::optional<Age> age_;
  Clock::time_point looked_{};
  std::string lost_;
};

}  // namespace tidings
