#include "infrastructure/lease.hpp"

#include "support/catch.hpp"
#include "support/forked_child.hpp"
#include "support/outbox.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <fstream>
#include <vector>

using namespace tidings;
using namespace tidings::test;
namespace fs = std::filesystem;

namespace {

/// On the engine under test.
struct Leases {
  Engine engine = engine_under_test();
  Outbox outbox{engine};
  TempDir folder;
  Database& database = outbox.database();

  Leases() { UNSCOPED_INFO("in " << to_string(engine)); }
  [[nodiscard]] std::int64_t value(const std::string& name) const {
    return outbox.number("SELECT " + name + " FROM outbox_lease");
  }
  void set(const std::string& assignments) const { outbox.execute("UPDATE outbox_lease SET " + assignments); }
};

Lease lease(const std::string& holder, std::chrono::milliseconds duration = 1h) { return {holder, duration}; }

bool renew(Lease& lease, Database& database) {
  bool ours = false;
  database.transact([&](Transaction& transaction) { ours = lease.renew(transaction); });
  return ours;
}

constexpr const char* in_a_hundred_years = "expiresAt = expiresAt + 3155760000000";

}  // namespace

TEST_CASE("the first to ask holds the lease, and the next does not", "[engines]") {
  Leases leases;
  auto& database = leases.database;
  auto first = lease("first"), second = lease("second");
  CHECK_FALSE(first.held());
  CHECK_FALSE(first.fresh());
  CHECK(first.try_take(database));
  CHECK_FALSE(second.try_take(database));
  CHECK(first.held());
  CHECK(first.fresh());
  CHECK(leases.value("epoch") == 1);
  CHECK_FALSE(second.held());
  CHECK_FALSE(second.fresh());
  CHECK(first.try_take(database));
  CHECK(leases.value("epoch") == 1);
  CHECK(renew(first, database));
}

TEST_CASE("a released lease is free at once, and its next holder has a higher epoch", "[engines]") {
  Leases leases;
  auto& database = leases.database;
  auto first = lease("first"), second = lease("second");
  REQUIRE(first.try_take(database));
  CHECK_FALSE(second.try_take(database));
  first.release(database);
  CHECK_FALSE(first.held());
  CHECK_FALSE(first.fresh());
  CHECK(second.try_take(database));
  CHECK(leases.value("epoch") == 2);
  CHECK_FALSE(first.try_take(database));
}

TEST_CASE("a lease past its time is taken, and its old holder can change nothing any more", "[engines]") {
  Leases leases;
  auto& database = leases.database;
  auto first = lease("first"), second = lease("second");
  REQUIRE(first.try_take(database));
  leases.set("expiresAt = 1");
  CHECK(second.try_take(database));
  CHECK(leases.value("epoch") == 2);

  const auto until = leases.value("expiresAt");
  CHECK_FALSE(renew(first, database));
  CHECK_FALSE(first.held());
  CHECK_FALSE(first.fresh());
  first.release(database);
  CHECK(leases.value("expiresAt") == until);
  CHECK(renew(second, database));
}

TEST_CASE("releasing what another has taken over meanwhile frees nothing", "[engines]") {
  Leases leases;
  auto& database = leases.database;
  auto first = lease("first"), second = lease("second"), third = lease("third");
  REQUIRE(first.try_take(database));
  leases.set("expiresAt = 1");
  REQUIRE(second.try_take(database));
  first.release(database);
  CHECK_FALSE(third.try_take(database));
  CHECK(renew(second, database));
}

TEST_CASE("the session of a holder that was frozen in mid-write is ended by who takes over") {
  // No timeout of the server's ends it when it was frozen between two messages of a pipeline; here it has
  // none.
  Outbox outbox{Engine::postgres};
  const auto frozen = Database::open(outbox.url());
  auto first = lease("first", 100ms), second = lease("second", 200ms);
  REQUIRE(first.try_take(*frozen));
  Transaction transaction{*frozen};
  REQUIRE(first.renew(transaction));
  REQUIRE_WITHIN(4s, [&] {
    try {
      outbox.database().wait_for_locks(50ms);
      return second.try_take(outbox.database());
    } catch (const DatabaseError& error) {  // not yet
      REQUIRE(error.retryable());
      return false;
    }
  }());
  CHECK_THROWS_AS(transaction.commit(), DatabaseError);
  CHECK(outbox.number("SELECT epoch FROM outbox_lease") == 2);
}

TEST_CASE("a renewal shows life and moves the end", "[engines]") {
  Leases leases;
  auto& database = leases.database;
  auto holder = lease("holder");
  REQUIRE(holder.try_take(database));
  leases.set("expiresAt = 1");
  const auto beat = leases.value("beat");
  CHECK(renew(holder, database));
  CHECK(leases.value("beat") == beat + 1);
  const auto ahead = leases.value("expiresAt") - now().time_since_epoch().count();
  CHECK((ahead > 3'000'000 && ahead <= 3'600'000));
}

TEST_CASE("a renewal that is not committed makes nobody believe in it", "[engines]") {
  Leases leases;
  auto& database = leases.database;
  auto holder = lease("holder");
  REQUIRE(holder.try_take(database));
  const auto until = holder.fresh_until();
  const auto beat = leases.value("beat");
  CHECK_THROWS_AS(database.transact([&](Transaction& transaction) {
    CHECK(holder.renew(transaction));
    CHECK(holder.fresh_until() == until);
    throw std::runtime_error("disk full");
  }),
                  std::runtime_error);
  CHECK(holder.fresh_until() == until);
  CHECK(leases.value("beat") == beat);
  CHECK(holder.held());
  CHECK(renew(holder, database));
  CHECK(holder.fresh_until() > until);
}

TEST_CASE("a dead holder is replaced although the wall clock was set back", "[engines]") {
  Leases leases;
  auto& database = leases.database;
  auto dead = lease("dead", 100ms), next = lease("next", 100ms);
  REQUIRE(dead.try_take(database));
  leases.set(in_a_hundred_years);
  const auto begun = BootClock::now();
  CHECK_FALSE(next.try_take(database));
  REQUIRE_WITHIN(20s, next.try_take(database));
  CHECK(BootClock::now() - begun >= 100ms);
  CHECK(leases.value("epoch") == 2);
}

TEST_CASE("a living holder is not replaced although the wall clock was set back", "[engines]") {
  Leases leases;
  auto& database = leases.database;
  auto holder = lease("holder", 50ms), next = lease("next", 50ms);
  REQUIRE(holder.try_take(database));
  for (const auto end = BootClock::now() + 300ms; BootClock::now() < end;) {
    REQUIRE(renew(holder, database));
    leases.set(in_a_hundred_years);
    REQUIRE_FALSE(next.try_take(database));
  }
}

TEST_CASE("a holder that was late takes its own lease again under a new epoch", "[engines]") {
  Leases leases;
  auto& database = leases.database;
  auto holder = lease("holder", 1ms);
  REQUIRE(holder.try_take(database));
  leases.set(in_a_hundred_years);
  REQUIRE_WITHIN(5s, !holder.fresh());
  CHECK(holder.try_take(database));
  CHECK(leases.value("epoch") == 2);
}

TEST_CASE("standing by does not need the write lock", "[engines]") {
  Leases leases;
  auto& database = leases.database;
  const auto other = Database::open(leases.outbox.url());
  auto holder = lease("holder"), next = lease("next");
  REQUIRE(holder.try_take(database));
  Transaction writing{database};
  REQUIRE(holder.renew(writing));
  const auto begun = BootClock::now();
  CHECK_FALSE(next.try_take(*other));
  CHECK(BootClock::now() - begun < 4s);  // the lock is waited for 5 s
}

TEST_CASE("of processes that ask at once exactly one holds the lease", "[engines]") {
  Leases leases;
  for (int round = 0; round < 10; ++round) {
    leases.outbox.execute("DELETE FROM outbox_lease");
    const TempDir folder;
    std::vector<Child> children;
    for (int i = 0; i < 8; ++i)
      children.emplace_back([&leases, &folder, i] {
        const auto database = Database::open(leases.outbox.url());
        auto mine = lease("process " + std::to_string(i));
        while (!fs::exists(folder / "go")) {
        }
        return mine.try_take(*database) ? 1 : 0;
      });
    std::ofstream{folder / "go"};
    int holders = 0;
    for (auto& child : children) {
      const auto exit = child.wait();
      REQUIRE((exit == exited(0) || exit == exited(1)));
      holders += exit.code;
    }
    REQUIRE(holders == 1);
    REQUIRE(leases.value("epoch") == 1);
  }
}

TEST_CASE("a process that was frozen past its lease knows it, and changes nothing", "[engines]") {
  Leases leases;
  Child frozen{[&] {
    const auto own = Database::open(leases.outbox.url());
    auto mine = lease("frozen", 2s);
    if (!mine.try_take(*own)) return 1;
    std::ofstream{leases.folder / "taken"};
    while (!fs::exists(leases.folder / "go on")) {
    }
    if (mine.fresh()) return 2;
    return renew(mine, *own) ? 3 : 0;
  }};
  REQUIRE_WITHIN(20s, fs::exists(leases.folder / "taken"));
  frozen.freeze();
  auto next = lease("next", 2s);
  REQUIRE_WITHIN(20s, next.try_take(leases.database));
  std::ofstream{leases.folder / "go on"};
  frozen.send(SIGCONT);
  CHECK(frozen.wait() == exited(0));
  CHECK(leases.value("epoch") == 2);
}
