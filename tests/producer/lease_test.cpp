#include "infrastructure/lease.hpp"

#include "producer/child.hpp"
#include "support/catch.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <fstream>
#include <vector>

using namespace tidings;
using namespace tidings::test;
namespace fs = std::filesystem;

namespace {

struct Outbox {
  TempDir folder;
  fs::path file = folder / "a.db";

  Outbox() { Database{file, Database::Open::create}.migrate(); }
  [[nodiscard]] std::int64_t value(const std::string& name) const {
    return sqlite::number(file, "SELECT " + name + " FROM outbox_lease");
  }
  void set(const std::string& assignments) const {
    sqlite::execute(file, "UPDATE outbox_lease SET " + assignments);
  }
};

Lease lease(const std::string& holder, std::chrono::milliseconds duration = 1h) {
  return Lease{{.name = "outbox", .holder = holder, .duration = duration}};
}

bool renew(Lease& lease, Database& database) {
  bool ours = false;
  database.transact([&](Transaction& transaction) { ours = lease.renew(transaction); });
  return ours;
}

constexpr const char* in_a_hundred_years = "expiresAt = expiresAt + 3155760000000";

}  // namespace

TEST_CASE("the first to ask holds the lease, and the next does not") {
  const Outbox outbox;
  Database database{outbox.file};
  auto first = lease("first"), second = lease("second");
  CHECK_FALSE(first.held());
  CHECK_FALSE(first.fresh());
  CHECK(first.try_take(database));
  CHECK_FALSE(second.try_take(database));
  CHECK(first.held());
  CHECK(first.fresh());
  CHECK(first.epoch() == 1);
  CHECK_FALSE(second.held());
  CHECK_FALSE(second.fresh());
  CHECK(first.try_take(database));
  CHECK(first.epoch() == 1);
  CHECK(renew(first, database));
}

TEST_CASE("leases of different names do not know each other") {
  const Outbox outbox;
  Database database{outbox.file};
  Lease one{{.name = "one", .holder = "a"}}, two{{.name = "two", .holder = "b"}};
  CHECK(one.try_take(database));
  CHECK(two.try_take(database));
  CHECK(renew(one, database));
}

TEST_CASE("a released lease is free at once, and its next holder has a higher epoch") {
  const Outbox outbox;
  Database database{outbox.file};
  auto first = lease("first"), second = lease("second");
  REQUIRE(first.try_take(database));
  CHECK_FALSE(second.try_take(database));
  first.release(database);
  CHECK_FALSE(first.held());
  CHECK_FALSE(first.fresh());
  CHECK(second.try_take(database));
  CHECK(second.epoch() == 2);
  CHECK_FALSE(first.try_take(database));
}

TEST_CASE("a lease past its time is taken, and its old holder can change nothing any more") {
  const Outbox outbox;
  Database database{outbox.file};
  auto first = lease("first"), second = lease("second");
  REQUIRE(first.try_take(database));
  outbox.set("expiresAt = 1");
  CHECK(second.try_take(database));
  CHECK(second.epoch() == 2);

  const auto until = outbox.value("expiresAt");
  CHECK_FALSE(renew(first, database));
  CHECK_FALSE(first.held());
  CHECK_FALSE(first.fresh());
  first.release(database);
  CHECK(outbox.value("expiresAt") == until);
  CHECK(renew(second, database));
}

TEST_CASE("releasing what another has taken over meanwhile frees nothing") {
  const Outbox outbox;
  Database database{outbox.file};
  auto first = lease("first"), second = lease("second"), third = lease("third");
  REQUIRE(first.try_take(database));
  outbox.set("expiresAt = 1");
  REQUIRE(second.try_take(database));
  first.release(database);
  CHECK_FALSE(third.try_take(database));
  CHECK(renew(second, database));
}

TEST_CASE("a renewal shows life and moves the end") {
  const Outbox outbox;
  Database database{outbox.file};
  auto holder = lease("holder");
  REQUIRE(holder.try_take(database));
  outbox.set("expiresAt = 1");
  const auto beat = outbox.value("beat");
  CHECK(renew(holder, database));
  CHECK(outbox.value("beat") == beat + 1);
  const auto ahead = outbox.value("expiresAt") - now().time_since_epoch().count();
  CHECK((ahead > 3'000'000 && ahead <= 3'600'000));
}

TEST_CASE("a renewal that is not committed makes nobody believe in it") {
  const Outbox outbox;
  Database database{outbox.file};
  auto holder = lease("holder");
  REQUIRE(holder.try_take(database));
  const auto until = holder.fresh_until();
  const auto beat = outbox.value("beat");
  CHECK_THROWS_AS(database.transact([&](Transaction& transaction) {
    CHECK(holder.renew(transaction));
    CHECK(holder.fresh_until() == until);
    throw std::runtime_error("disk full");
  }),
                  std::runtime_error);
  CHECK(holder.fresh_until() == until);
  CHECK(outbox.value("beat") == beat);
  CHECK(holder.held());
  CHECK(renew(holder, database));
  CHECK(holder.fresh_until() > until);
}

TEST_CASE("a dead holder is replaced although the wall clock was set back") {
  const Outbox outbox;
  Database database{outbox.file};
  auto dead = lease("dead", 100ms), next = lease("next", 100ms);
  REQUIRE(dead.try_take(database));
  outbox.set(in_a_hundred_years);
  const auto begun = BootClock::now();
  CHECK_FALSE(next.try_take(database));
  REQUIRE_WITHIN(20s, next.try_take(database));
  CHECK(BootClock::now() - begun >= 100ms);
  CHECK(next.epoch() == 2);
}

TEST_CASE("a living holder is not replaced although the wall clock was set back") {
  const Outbox outbox;
  Database database{outbox.file};
  auto holder = lease("holder", 50ms), next = lease("next", 50ms);
  REQUIRE(holder.try_take(database));
  for (const auto end = BootClock::now() + 300ms; BootClock::now() < end;) {
    REQUIRE(renew(holder, database));
    outbox.set(in_a_hundred_years);
    REQUIRE_FALSE(next.try_take(database));
  }
}

TEST_CASE("a holder that was late takes its own lease again under a new epoch") {
  const Outbox outbox;
  Database database{outbox.file};
  auto holder = lease("holder", 1ms);
  REQUIRE(holder.try_take(database));
  outbox.set(in_a_hundred_years);
  REQUIRE_WITHIN(5s, !holder.fresh());
  CHECK(holder.try_take(database));
  CHECK(holder.epoch() == 2);
}

TEST_CASE("standing by does not need the write lock") {
  const Outbox outbox;
  Database database{outbox.file}, other{outbox.file};
  other.handle().setBusyTimeout(1);
  auto holder = lease("holder"), next = lease("next");
  REQUIRE(holder.try_take(database));
  const Transaction writing{database.handle()};
  CHECK_FALSE(next.try_take(other));
}

TEST_CASE("of processes that ask at once exactly one holds the lease") {
  for (int round = 0; round < 10; ++round) {
    const Outbox outbox;
    std::vector<Child> children;
    for (int i = 0; i < 8; ++i)
      children.emplace_back([&outbox, i] {
        Database database{outbox.file};
        auto mine = lease("process " + std::to_string(i));
        while (!fs::exists(outbox.folder / "go")) {
        }
        return mine.try_take(database) ? 1 : 0;
      });
    std::ofstream{outbox.folder / "go"};
    int holders = 0;
    for (auto& child : children) {
      const auto exit = child.wait();
      REQUIRE((exit == exited(0) || exit == exited(1)));
      holders += exit.code;
    }
    REQUIRE(holders == 1);
    REQUIRE(outbox.value("epoch") == 1);
  }
}

TEST_CASE("a process that was frozen past its lease knows it, and changes nothing") {
  const Outbox outbox;
  Child frozen{[&] {
    Database database{outbox.file};
    auto mine = lease("frozen", 2s);
    if (!mine.try_take(database)) return 1;
    std::ofstream{outbox.folder / "taken"};
    while (!fs::exists(outbox.folder / "go on")) {
    }
    if (mine.fresh()) return 2;
    return renew(mine, database) ? 3 : 0;
  }};
  REQUIRE_WITHIN(20s, fs::exists(outbox.folder / "taken"));
  frozen.freeze();
  Database database{outbox.file};
  auto next = lease("next", 2s);
  REQUIRE_WITHIN(20s, next.try_take(database));
  std::ofstream{outbox.folder / "go on"};
  frozen.send(SIGCONT);
  CHECK(frozen.wait() == exited(0));
  CHECK(outbox.value("epoch") == 2);
}
