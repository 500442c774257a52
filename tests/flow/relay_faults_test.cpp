// A relay whose disk, stream or server fails under it while services commit.

#include "support/catch.hpp"
#include "support/relays.hpp"
#include "support/wait.hpp"

#include <sys/mount.h>

#include <csignal>
#include <fstream>
#include <map>
#include <optional>
#include <set>

using namespace tidings::test;

namespace {

/// A file system with little room: more than SQLite's log takes before it is copied into the database (4 MB).
class SmallDisk {
 public:
  SmallDisk() : mounted_(::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, "size=16m") == 0) {}
  ~SmallDisk() {
    if (mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  [[nodiscard]] bool mounted() const noexcept { return mounted_; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return folder_.path(); }
  void fill() const {
    std::ofstream file{folder_ / "filler", std::ios::binary};
    const std::string block(4096, 'x');
    while (file.write(block.data(), 4096).flush()) {
    }
  }
  void make_room() const { std::filesystem::remove(folder_ / "filler"); }

 private:
  TempDir folder_;
  bool mounted_;
};

std::int64_t lease_ends(const Relays& relays) {
  return sqlite::number(relays.outbox.path(), "SELECT expiresAt FROM outbox_lease");
}

std::int64_t milliseconds_now() { return tidings::now().time_since_epoch().count(); }

int warnings(const Process& relay) { return occurrences(relay.err(), "disk is full"); }

/// The aggregates of which an event is in the stream and a later one is not, though it is PUBLISHED.
std::string gaps(const Relays& relays, const std::vector<StoredMessage>& stream) {
  std::set<std::string> present;
  for (const auto& message : stream) present.insert(message.header("ce-id"));
  std::map<std::string, bool> begun;
  std::string found;
  for (const auto& row : sqlite::column(relays.outbox.path(),
                                        "SELECT aggregateId || ' ' || id FROM outbox_event ORDER BY rowid")) {
    const auto space = row.find(' ');
    auto& in_stream = begun[row.substr(0, space)];
    if (present.contains(row.substr(space + 1)))
      in_stream = true;
    else if (in_stream)
      found += row + "\n";
  }
  return found;
}

}  // namespace

TEST_CASE("a full disk is reported, loses nothing, and work goes on by itself when there is room") {
  const SmallDisk disk;
  if (!disk.mounted()) {
    WARN("not tested: this user may not mount a small file system");
    return;
  }
  Relays relays{disk.path()};
  const Relays::Settings settings{{"OUTBOX_LEASE_MS", "500"}};
  std::optional<Process> relay = relays.start(settings);
  REQUIRE_WITHIN(20s, !relays.holder().empty());  // else the writers may fill the disk before
  Writers writers{relays.outbox, {.writers = 2, .largest_commit = 3, .seed = random_seed()}};
  REQUIRE_WITHIN(20s, relays.published() > 100);

  disk.fill();
  REQUIRE_WITHIN(20s, writers.refused() > 0);
  REQUIRE(relay->wait_for_output("disk is full", 20s));
  // Well past the lease: a long outage, during which every try fails.
  const auto begun = milliseconds_now();
  REQUIRE_WITHIN(20s, lease_ends(relays) + 1000 < milliseconds_now() && begun + 2000 < milliseconds_now());
  CHECK(relay->running());
  INFO(relay->err());
  CHECK(warnings(*relay) <= 3);  // of its writes, its reads, and those that it tries again without a pause

  relay->kill(SIGKILL);
  REQUIRE(relay->wait() == killed_by(SIGKILL));
  relay.emplace(relays.start(settings));  // on a disk that is full
  REQUIRE(relay->wait_for_output("disk is full", 20s));
  CHECK(relay->running());

  disk.make_room();
  const auto refused_until = writers.committed();
  REQUIRE_WITHIN(20s, writers.committed() > refused_until + 50);
  writers.stop();
  REQUIRE_WITHIN(20s, relays.all_published());
  CHECK(relays.outbox.count("true") == writers.committed());
  CHECK(relays.audit() == "");
  CHECK(warnings(*relay) <= 2);
  relay->kill(SIGTERM);
  CHECK(relay->wait() == exited(0));
}

TEST_CASE("a disk that cannot sync is reported, loses nothing, and work goes on when it can") {
  if (!can_inject_faults()) {
    WARN("not tested: strace is missing or may not trace");
    return;
  }
  // Counted for each thread: the lease is taken by one, outcomes are written back by another.
  const std::string which = GENERATE("1..2", "2..6", "3+4");
  INFO("fails: " << which);
  Relays relays;
  auto relay = relays.start_with_fault("fsync,fdatasync:error=EIO:when=" + which);
  Writers writers{relays.outbox, {.writers = 2, .seed = random_seed()}};
  REQUIRE(relay.wait_for_output("disk I/O error", 20s));
  REQUIRE_WITHIN(20s, relays.published() > 100);
  CHECK(relay.running());
  const bool for_ever = which.find('+') != std::string::npos;
  INFO(relay.err());
  // Each of two threads fails twice, or five times, and one of them tells.
  if (!for_ever) CHECK(occurrences(relay.err(), "disk I/O error") <= 4);

  relay.kill(SIGKILL);
  REQUIRE(relay.wait() == killed_by(SIGKILL));
  writers.stop();
  CHECK(relays.outbox.count("true") == writers.committed());
  auto healthy = relays.start({}, {"--drain"});
  REQUIRE(healthy.wait() == exited(0));
  CHECK(relays.audit() == "");
}

TEST_CASE("a stream deleted under load is made again, and takes what is not yet sent in order") {
  Relays relays;
  auto relay = relays.start();
  Writers writers{relays.outbox, {.seed = random_seed()}};
  std::int64_t committed_before = 0;
  for (int round = 0; round < 3; ++round) {
    relays.outbox.add_many(3000, 20);  // so that it meets a full window
    const auto before = relays.published();
    REQUIRE_WITHIN(20s, relays.published() > before + 200);
    relays.jetstream.delete_stream("AUTH_EVENTS");
    committed_before = sqlite::number(relays.outbox.path(), "SELECT max(rowid) FROM outbox_event");
    REQUIRE_WITHIN(20s, relays.jetstream.has_stream("AUTH_EVENTS"));
  }
  const auto before = relays.published();
  REQUIRE_WITHIN(20s, relays.published() > before + 200);
  writers.stop();
  REQUIRE_WITHIN(20s, relays.all_published());
  CHECK(relays.outbox.count("retryCount <> 0 OR lastError IS NOT NULL") == 0);

  const auto stream = relays.jetstream.messages("AUTH_EVENTS");
  std::set<std::string> present;
  for (const auto& message : stream) present.insert(message.header("ce-id"));
  CHECK(present.size() == stream.size());
  int lost = 0;
  for (const auto& id : sqlite::column(relays.outbox.path(), "SELECT id FROM outbox_event WHERE rowid > " +
                                                                 std::to_string(committed_before)))
    lost += present.contains(id) ? 0 : 1;
  CHECK(lost == 0);
  CHECK(gaps(relays, stream) == "");
  const auto wrong = ledger(relays.outbox, stream);  // what went into the deleted streams is not in this one
  CHECK(occurrences(wrong, "inverted") == 0);
  relay.kill(SIGTERM);
  CHECK(relay.wait() == exited(0));
}

TEST_CASE("a server that goes away under load, alone or with the relay, costs no event, order or attempt",
          "[engines]") {
  Relays relays{engine_under_test()};
  std::optional<Process> relay = relays.start();
  Writers writers{relays.outbox, {.seed = random_seed()}};
  const auto let_commit = [&writers] {
    const auto committed = writers.committed();
    REQUIRE_WITHIN(20s, writers.committed() > committed + 100);
  };
  for (int round = 0; round < 6; ++round) {
    relays.outbox.add_many(2000, 20);  // so that it meets a full window
    const auto before = relays.published();
    REQUIRE_WITHIN(20s, relays.published() > before + 200);
    const bool both = round % 4 == 1;
    if (both) {
      relays.server.pause();  // it is given events that it will not store
      let_commit();
    }
    if (round % 2 == 0)
      relays.server.stop();
    else
      relays.server.kill();
    if (both) {
      relay->kill(SIGKILL);
      REQUIRE(relay->wait() == killed_by(SIGKILL));
      relay.emplace(relays.start());
    }
    let_commit();
    relays.server.start();
  }
  writers.stop();
  REQUIRE_WITHIN(20s, relays.all_published());
  CHECK(relays.outbox.count("true") == 6 * 2000 + writers.committed());
  CHECK(relays.audit() == "");
  relay->kill(SIGTERM);
  CHECK(relay->wait() == exited(0));
}
