// A relay whose SQLite file is replaced while it runs: it must not mark rows in a file that nobody sees.

#include "support/catch.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <tidings/error.hpp>
#include <tidings/outbox_processor.hpp>

#include <filesystem>
#include <string>

using namespace tidings;
using namespace tidings::test;
using Phase = ProcessorStatus::Phase;
namespace fs = std::filesystem;

namespace {

/// As `mv backup.db auth.db` does, while the service is stopped.
void replace(const Outbox& outbox, int events) {
  Outbox backup;
  backup.add_many(events, events, "other-");
  backup.execute("PRAGMA wal_checkpoint(TRUNCATE)");
  fs::copy_file(backup.path(), outbox.path() + ".new");
  fs::rename(outbox.path() + ".new", outbox.path());
}

}  // namespace

TEST_CASE("a relay whose database file is replaced or deleted ends with an error, active or not") {
  const NatsServer server{{.config = {}, .arguments = {}, .jetstream = true, .monitoring = false}};
  Outbox outbox;
  outbox.add("one");
  Processor active{outbox, server.url(), quick_polling()};
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 1);
  Processor standby{outbox, server.url(), quick_polling()};
  REQUIRE_WITHIN(10s, standby.phase() == Phase::standby);
  if (GENERATE(true, false))
    replace(outbox, 3);
  else
    fs::remove(outbox.path());
  active.join();
  standby.join();
  CHECK_THAT(active.error(), ContainsSubstring("the outbox is lost: " + outbox.path()));
  CHECK(standby.error() == active.error());
}

TEST_CASE("a relay that is started on the file that has replaced its own publishes that one's events") {
  const NatsServer server{{.config = {}, .arguments = {}, .jetstream = true, .monitoring = false}};
  Outbox outbox;
  outbox.add_many(2, 2);
  {
    Processor first{outbox, server.url(), quick_polling()};
    REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 2);
    replace(outbox, 3);
    first.join();
  }
  const Processor second{outbox, server.url(), quick_polling()};
  REQUIRE_WITHIN(10s, JetStream{server.url()}.message_count("AUTH_EVENTS") == 5);
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 3);
  CHECK(outbox.number("SELECT count(*) FROM outbox_event") == 3);
  CHECK(outbox.text("PRAGMA integrity_check") == "ok");
}

TEST_CASE("a service whose database file is replaced writes nothing more, and is told so") {
  Outbox outbox;
  outbox.add("before");
  replace(outbox, 1);
  std::string error;
  const auto is_refused = [&] {
    try {
      outbox.add("after");
    } catch (const DatabaseError& refusal) {
      error = refusal.what();
    }
    return !error.empty();
  };
  REQUIRE_WITHIN(5s, is_refused());
  CHECK_THAT(error, ContainsSubstring(outbox.path() + " is not the file that was opened"));
  CHECK_THAT(error, ContainsSubstring("start this program again"));
}
