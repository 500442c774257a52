#include "infrastructure/commit_watch.hpp"

#include "infrastructure/sqlite/sqlite_database.hpp"
#include "support/catch.hpp"
#include "support/forked_child.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <fstream>
#include <thread>

using namespace tidings;
using namespace tidings::test;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

namespace {

/// A database in WAL mode with a table t, and one connection that stays, so that its WAL does too.
struct Service {
  TempDir folder;
  fs::path file = folder / "a.db";
  SqliteDatabase database{file, Database::Open::create};

  Service() { database.handle().exec("CREATE TABLE t(a)"); }
};

void append(const fs::path& file, const std::string& text = "x") {
  std::ofstream{file, std::ios::app} << text << std::flush;
}

void commit(const fs::path& file) { sqlite::execute(file, "INSERT INTO t VALUES (1)"); }

std::unique_ptr<CommitWatch> watch_file(const fs::path& file) {
  return CommitWatch::open("sqlite:" + file.string());
}

/// Everything that was written before is seen, and the reads that follow a write are over.
bool quiet(CommitWatch& watch) {
  return eventually(20s, [&] { return !watch.wait(1200ms); });
}

}  // namespace

TEST_CASE("waiting ends at a commit of another process") {
  const TempDir folder;
  SqliteDatabase{folder / "a.db", Database::Open::create}.handle().exec("CREATE TABLE t(a)");
  Child writer{[&] {
    while (!fs::exists(folder / "go")) {
    }
    commit(folder / "a.db");
    return 0;
  }};
  const auto watch = watch_file(folder / "a.db");
  std::ofstream{folder / "go"};
  CHECK(watch->wait(1min));
  CHECK(writer.wait() == exited(0));
}

TEST_CASE("a commit before waiting is not missed, in whichever journal mode") {
  Service service;
  for (const auto* mode : {"WAL", "DELETE", "TRUNCATE", "PERSIST"}) {
    INFO(mode);
    service.database.handle().exec(std::string("PRAGMA journal_mode=") + mode);
    const auto watch = watch_file(service.file);
    REQUIRE_FALSE(watch->wait(0ms));
    service.database.handle().exec("INSERT INTO t VALUES (1)");
    CHECK(watch->wait(0ms));
  }
}

TEST_CASE("a write to the file, its WAL or its journal is seen, and so is the journal's end") {
  const TempDir folder;
  for (const auto* name : {"a.db", "a.db-wal", "a.db-journal"}) {
    INFO(name);
    append(folder / name);
    const auto watch = watch_file(folder / "a.db");
    REQUIRE_FALSE(watch->wait(0ms));
    append(folder / name);
    CHECK(watch->wait(0ms));
  }
  const auto watch = watch_file(folder / "a.db");
  REQUIRE_FALSE(watch->wait(0ms));
  fs::remove(folder / "a.db-journal");  // the commit itself, without a WAL
  CHECK(watch->wait(0ms));
}

TEST_CASE("a commit through a symbolic link is seen through another name of the file") {
  const Service service;
  fs::create_directory(service.folder / "elsewhere");
  fs::create_symlink(service.file, service.folder / "elsewhere" / "link.db");
  const auto watch = watch_file(service.folder / "elsewhere" / "link.db");
  REQUIRE_FALSE(watch->wait(0ms));
  commit(service.file);
  CHECK(watch->wait(1min));
}

TEST_CASE("waiting lasts for the timeout when nothing happens, whatever happens to other files") {
  const Service service;
  const auto watch = watch_file(service.file);
  REQUIRE_FALSE(watch->wait(0ms));
  const auto begun = Clock::now();
  for (const auto* name : {"b.db", "a.db2", "a.db-shm2", "a.db-wal2", "a.d", "b.db-wal"})
    append(service.folder / name);
  CHECK_FALSE(watch->wait(150ms));
  CHECK(Clock::now() - begun >= 150ms);
  CHECK_FALSE(watch->wait(0ms));
  CHECK_FALSE(watch->wait(-1h));
}

TEST_CASE("a wake from another thread ends waiting, and many wakes are one") {
  const Service service;
  const auto watch = watch_file(service.file);
  REQUIRE_FALSE(watch->wait(0ms));
  const auto lasts = [&](std::chrono::milliseconds timeout) {
    const auto begun = Clock::now();
    CHECK_FALSE(watch->wait(timeout));  // nothing was written
    return Clock::now() - begun;
  };
  {
    const std::jthread waker{[&] { watch->wake(); }};
    CHECK(lasts(1min) < 30s);
  }
  for (int i = 0; i < 1000; ++i) watch->wake();
  CHECK(lasts(1min) < 30s);
  CHECK(lasts(50ms) >= 50ms);
}

TEST_CASE("sleeping ends at a wake, and not at a write") {
  const Service service;
  const auto watch = watch_file(service.file);
  append(service.folder / "a.db-wal");
  const auto begun = Clock::now();
  watch->sleep(50ms);
  CHECK(Clock::now() - begun >= 50ms);
  const std::jthread waker{[&] { watch->wake(); }};
  watch->sleep(1min);
  CHECK(Clock::now() - begun < 30s);
  CHECK(watch->wait(1min));  // the write is not forgotten
}

TEST_CASE("after a write there are a few more reads, since its commit is visible only after an fsync") {
  const Service service;
  const auto watch = watch_file(service.file);
  REQUIRE_FALSE(watch->wait(0ms));
  const auto begun = Clock::now();
  append(service.folder / "a.db-wal");
  int reads = 0;
  while (watch->wait(1200ms)) ++reads;
  // At once, and then after pauses of 0.15, 0.225 … 748 ms: an idle database costs nothing after three
  // seconds.
  CHECK(reads == 23);
  CHECK(Clock::now() - begun >= 2200ms);
}

TEST_CASE("a long import is not met write by write") {
  const Service service;
  const auto watch = watch_file(service.file);
  REQUIRE_FALSE(watch->wait(0ms));
  constexpr int writes = 20'000;
  const auto begun = Clock::now();
  std::atomic<bool> done{false};
  const std::jthread writer{[&] {
    std::ofstream wal{service.folder / "a.db-wal", std::ios::app};
    for (int i = 0; i < writes; ++i) wal << 'x' << std::flush;
    done = true;
  }};
  int reads = 0;
  while (!done)
    if (watch->wait(100ms)) ++reads;
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count();
  CAPTURE(reads, milliseconds);
  CHECK(reads > 0);
  CHECK(reads <= 5 * milliseconds + 5);
}

TEST_CASE("without its folder a watch still waits and wakes") {
  const TempDir folder;
  const auto nowhere = watch_file(folder / "none" / "a.db");
  CHECK_FALSE(nowhere->wait(20ms));
  nowhere->wake();
  const auto woken = Clock::now();
  CHECK_FALSE(nowhere->wait(1min));
  CHECK(Clock::now() - woken < 30s);

  fs::create_directory(folder / "gone");
  const auto watch = watch_file(folder / "gone" / "a.db");
  fs::remove(folder / "gone");
  CHECK(watch->wait(1min));  // something happened: read
  REQUIRE(quiet(*watch));
  const auto begun = Clock::now();
  CHECK_FALSE(watch->wait(50ms));
  CHECK(Clock::now() - begun >= 50ms);
}
