// The processor while PostgreSQL ends its sessions, or says nothing at all.

#include "infrastructure/lease.hpp"
#include "infrastructure/outcome.hpp"
#include "support/catch.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/stepped_service.hpp"
#include "support/wait.hpp"

#include <csignal>
#include <set>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

/// The server's processes for the clients that are connected.
std::set<std::string> sessions(const Outbox& outbox) {
  const auto pids = outbox.column(
      "SELECT pid FROM pg_stat_activity WHERE application_name = 'tidings' AND pid <> pg_backend_pid()");
  return {pids.begin(), pids.end()};
}

/// Stops some processes of the server, until its end.
class StoppedSessions {
 public:
  explicit StoppedSessions(const std::set<std::string>& pids) {
    for (const auto& pid : pids) pids_.push_back(std::stoi(pid));
    signal(SIGSTOP);
  }
  ~StoppedSessions() { signal(SIGCONT); }
  StoppedSessions(const StoppedSessions&) = delete;
  StoppedSessions& operator=(const StoppedSessions&) = delete;

 private:
  void signal(int number) const {
    for (const auto pid : pids_) ::kill(pid, number);
  }
  std::vector<pid_t> pids_;
};

}  // namespace

TEST_CASE("a session that an administrator ends stops publishing for no moment") {
  NatsServer server;
  Outbox outbox{Engine::postgres};
  auto options = quick_polling();
  options.lease = 10s;
  const auto own = sessions(outbox);
  Processor processor{outbox, server.url(), options};
  outbox.add("a");
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 1);
  const auto since = processor.status().since;
  for (int round = 2; round <= 5; ++round) {
    // Only a session that has lasted for some time is followed by another without a pause.
    const auto begun = std::chrono::steady_clock::now();
    REQUIRE_WITHIN(20s, std::chrono::steady_clock::now() - begun > 250ms);
    for (const auto& pid : sessions(outbox))
      if (!own.contains(pid)) (void)outbox.text("SELECT pg_terminate_backend(" + pid + ")");
    outbox.add("a");
    REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == round);
    CHECK(processor.active());
    CHECK(processor.status().since == since);  // nor was it anything else in between
  }
  CHECK(outbox.number("SELECT epoch FROM outbox_lease") <= 1);
}

TEST_CASE("commits that hang are told, and a stop ends all the same") {
  NatsServer server;
  Outbox outbox{Engine::postgres};
  Processor processor{outbox, server.url(), quick_polling()};
  outbox.add("a");
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 1);
  outbox.execute("ALTER SYSTEM SET synchronous_standby_names = 'ghost'");
  outbox.execute("SELECT pg_reload_conf()");
  REQUIRE_WITHIN(20s, processor.phase() == ProcessorStatus::Phase::waiting_for_database);
  CHECK(processor.status().waiting_because.find("no answer for ") == 0);
  const auto told = [&outbox] { return outbox.repository().stats().processor->waiting_because; };
  REQUIRE_WITHIN(20s, told().find("(tidings) waits for a standby with its commit") != std::string::npos);
  const auto begun = std::chrono::steady_clock::now();
  processor.stop();
  CHECK(std::chrono::steady_clock::now() - begun < 15s);
  CHECK(processor.error() == "");
}

TEST_CASE("who keeps the lease from being written is told") {
  Outbox outbox{Engine::postgres};
  Lease lease{"holder", 1ms};
  REQUIRE(lease.try_take(outbox.database()));
  outbox.database().transact([](Transaction& transaction) { write_processor_record(transaction, {}, 0); });
  Service other{outbox};
  other.begin();
  other.run("UPDATE outbox_lease SET beat = beat + 1");
  const auto told = [&outbox] { return outbox.repository().stats().processor->waiting_because; };
  const std::string why = "(tidings) has not ended its write of the lease: ClientRead";
  REQUIRE_WITHIN(20s, told().find(why) != std::string::npos);
  other.roll_back();
  CHECK(told() == "");
}

TEST_CASE("sessions that stand still are told, and a stop ends all the same") {
  NatsServer server;
  Outbox outbox{Engine::postgres};
  const auto own = sessions(outbox);
  Processor processor{outbox, server.url(), quick_polling()};
  outbox.add("a");
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 1);
  std::set<std::string> pids;
  REQUIRE_WITHIN(20s, [&] {  // one that was opened to look at the tables may not have ended yet
    pids = sessions(outbox);
    for (const auto& pid : own) pids.erase(pid);
    return pids.size() == 3;
  }());
  const StoppedSessions stopped{pids};
  const auto begun = std::chrono::steady_clock::now();
  processor.stop();
  CHECK(std::chrono::steady_clock::now() - begun < 15s);
  CHECK(processor.error() == "");
}
