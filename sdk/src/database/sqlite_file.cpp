#include "database/sqlite_file.hpp"

#include <sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace tidings {
namespace {

// The first 100 bytes of the file: https://www.sqlite.org/fileformat2.html#the_database_header
using Header = std::array<unsigned char, 100>;
constexpr std::string_view magic{"SQLite format 3\0", 16};
constexpr unsigned char wal_version = 2;
constexpr std::size_t read_version_at = 19, change_counter_at = 24, pages_at = 28, schema_cookie_at = 40,
                      auto_vacuum_at = 52;

std::uint32_t number(const Header& header, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = at; i < at + sizeof value; ++i) value = value << 8U | header.at(i);
  return value;
}

/// False when it cannot be read now. From the disk, not from the cache. By SQLite's own descriptor: closing
/// another one of the same file would drop the locks that this process has on it.
bool read(Header& header, sqlite3* connection) {
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(connection, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
      file == nullptr || file->pMethods == nullptr)
    return false;
  const int result = file->pMethods->xRead(file, header.data(), static_cast<int>(header.size()), 0);
  return result == SQLITE_OK || result == SQLITE_IOERR_SHORT_READ;
}

}  // namespace

SqliteFile::SqliteFile(sqlite3* connection, const std::string& path) : connection_(connection) {
  const char* const name = sqlite3_db_filename(connection, "main");  // absolute, symbolic links resolved
  const std::string file = name == nullptr ? "" : name;
  if (file.empty()) return;  // in memory
  // With the first read, WAL and index are opened, and then stay until the connection is closed.
  sqlite3_exec(connection, "PRAGMA schema_version", nullptr, nullptr, nullptr);
  const auto main = find(file);
  int moved = 0;  // since it was opened
  sqlite3_file_control(connection, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
  if (!main || moved != 0) {
    lose(file);
    return;
  }
  watch(main);
  watch(find(file + "-wal"));
  watch(find(file + "-shm"));
  // A symbolic link may be turned to another file.
  std::error_code error;
  const auto given = find(std::filesystem::absolute(path, error).string());
  if (given && given->device == main->device && given->inode == main->inode) watch(given);
  age_ = read_age();
}

SqliteFile::~SqliteFile() {
  try {
    if (lost_.empty()) look();
  } catch (const std::exception&) {  // out of memory: what is left behind stays
  }
}

std::optional<SqliteFile::Place> SqliteFile::find(const std::string& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) return std::nullopt;
  return Place{.path = path, .device = found.st_dev, .inode = found.st_ino};
}

/// What cannot be looked at now is taken to be there.
bool SqliteFile::is_there(const Place& place) {
  struct stat now {};
  if (::stat(place.path.c_str(), &now) != 0) return errno != ENOENT && errno != ENOTDIR;
  return now.st_dev == place.device && now.st_ino == place.inode;
}

void SqliteFile::watch(const std::optional<Place>& place) {
  if (place) places_.push_back(*place);
}

void SqliteFile::lose(const std::string& path) {
  lost_ = path + " is not the file that was opened: it was replaced, moved or deleted";
}

/// None of what is no database in WAL mode: in other modes a rollback may make it smaller.
std::optional<SqliteFile::Age> SqliteFile::read_age() const {
  Header header{};
  if (!read(header, connection_)) return age_;
  if (!std::equal(magic.begin(), magic.end(), header.begin()) || header.at(read_version_at) != wal_version)
    return std::nullopt;
  const bool may_shrink = number(header, auto_vacuum_at) != 0;
  return Age{number(header, change_counter_at), number(header, schema_cookie_at),
             may_shrink ? 0 : number(header, pages_at)};
}

const std::string& SqliteFile::lost(Clock::time_point time) {
  if (lost_.empty() && time - looked_ >= interval) {
    looked_ = time;
    look();
  }
  return lost_;
}

void SqliteFile::look() {
  for (const auto& place : places_) {
    if (is_there(place)) continue;
    lose(place.path);
    // The WAL that is left behind would be taken for that of the new file, and spoil it.
    if (&place == &places_.front())
      sqlite3_wal_checkpoint_v2(connection_, "main", SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
    return;
  }
  if (!age_) return;
  const auto now = read_age();
  if (now && *now >= *age_) {
    age_ = now;
    return;
  }
  lost_ = places_.front().path + " was overwritten while it was open";
  sqlite3_db_config(connection_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);  // leave it as it is
}

}  // namespace tidings
