// Rows and tables that others have locked, and marks that PostgreSQL takes without an effect: the relay keeps
// its lease, goes on with the rest, says what is wrong, and sends nothing again.

#include "support/catch.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/stepped_service.hpp"
#include "support/wait.hpp"

#include <set>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

struct Relay {
  NatsServer server;
  JetStream jetstream{server.url()};
  Outbox outbox{Engine::postgres};

  [[nodiscard]] std::int64_t published() const { return outbox.count_status("PUBLISHED"); }
  [[nodiscard]] std::int64_t beat() const { return outbox.number("SELECT beat FROM outbox_lease"); }
  [[nodiscard]] std::int64_t epoch() const { return outbox.number("SELECT epoch FROM outbox_lease"); }
  [[nodiscard]] std::string trouble() const { return outbox.text("SELECT trouble FROM outbox_state"); }
  /// Every event is in the stream once, although the stream would take it twice.
  [[nodiscard]] bool sent_once() {
    std::set<std::string> ids;
    for (const auto& message : jetstream.messages("AUTH_EVENTS"))
      if (!ids.insert(message.header("ce-id")).second) return false;
    return true;
  }
};

}  // namespace

TEST_CASE("a row that is locked keeps nothing but its own mark, and the lease is not lost over it") {
  Relay relay;
  auto& outbox = relay.outbox;
  const auto locked = outbox.add("a");
  Service service{outbox};
  service.begin();
  service.run("SELECT 1 FROM outbox_event WHERE id = '" + locked + "' FOR UPDATE");
  outbox.add_many(500, 7);
  Processor processor{outbox, relay.server.url(), quick_polling()};
  REQUIRE_WITHIN(20s, relay.published() == 500);
  outbox.add_many(500, 7);
  REQUIRE_WITHIN(20s, relay.published() == 1000);
  REQUIRE_WITHIN(20s, relay.trouble().find("rows are locked by session ") != std::string::npos);
  CHECK(processor.active());
  const auto beat = relay.beat();
  REQUIRE_WITHIN(20s, relay.beat() > beat + 12);  // four leases
  CHECK(relay.epoch() == 1);
  service.commit();
  REQUIRE_WITHIN(20s, relay.published() == 1001);
  REQUIRE_WITHIN(20s, relay.trouble().empty());
  processor.stop();
  CHECK(relay.jetstream.message_count("AUTH_EVENTS") == 1001);
  CHECK(relay.sent_once());
  CHECK(ledger(outbox, relay.jetstream.messages("AUTH_EVENTS")) == "");
}

TEST_CASE("while an index is built, or the table is locked, the lease is kept and the reason is told") {
  Relay relay;
  auto& outbox = relay.outbox;
  Processor processor{outbox, relay.server.url(), quick_polling()};
  outbox.add("a");
  REQUIRE_WITHIN(20s, relay.published() == 1);
  Service service{outbox};
  outbox.add_many(300, 3);
  service.begin();
  service.run("LOCK TABLE outbox_event IN SHARE MODE");  // as CREATE INDEX does
  REQUIRE_WITHIN(20s, relay.trouble().find("lock timeout") != std::string::npos || relay.published() == 301);
  const auto beat = relay.beat();
  REQUIRE_WITHIN(20s, relay.beat() > beat + 9);
  CHECK(relay.epoch() == 1);
  service.commit();
  REQUIRE_WITHIN(20s, relay.published() == 301);
  processor.stop();
  CHECK(relay.jetstream.message_count("AUTH_EVENTS") == 301);
  CHECK(relay.sent_once());
}

TEST_CASE("cleanup passes over rows that are locked, and holds up nothing") {
  Relay relay;
  auto& outbox = relay.outbox;
  outbox.add_many(50, 5);
  outbox.execute(
      "UPDATE outbox_event SET status = 'PUBLISHED', publishedAt = '2020-01-01', createdAt = '2020-01-01'");
  const auto locked = outbox.text("SELECT min(id) FROM outbox_event");
  Service service{outbox};
  service.begin();
  service.run("SELECT 1 FROM outbox_event WHERE id = '" + locked + "' FOR UPDATE");
  auto options = quick_polling();
  options.cleanup_interval = 50ms;
  Processor processor{outbox, relay.server.url(), options};
  REQUIRE_WITHIN(20s, outbox.count("true") == 1);
  outbox.add("a");
  REQUIRE_WITHIN(20s, outbox.count("publishedAt > '2021-01-01'") == 1);
  CHECK(relay.trouble().empty());
  service.commit();
  REQUIRE_WITHIN(20s, outbox.count("true") == 1);
}

TEST_CASE("marks that change nothing end publishing with a clear word, and nothing is sent again") {
  const std::string cause = GENERATE("row-level security", "a rule", "a trigger");
  const bool deletes = GENERATE(false, true);
  CAPTURE(cause, deletes);
  Relay relay;
  auto& outbox = relay.outbox;
  auto options = quick_polling();
  if (deletes) options.retention = std::chrono::days{0};
  outbox.add_many(10, 10);
  outbox.execute("CREATE ROLE relay LOGIN; GRANT ALL ON outbox_event, outbox_lease, outbox_state TO relay");
  const std::string command = deletes ? "DELETE" : "UPDATE";
  if (cause == "row-level security")
    outbox.execute(
        "ALTER TABLE outbox_event ENABLE ROW LEVEL SECURITY; "
        "CREATE POLICY reading ON outbox_event FOR SELECT USING (true)");
  if (cause == "a rule")
    outbox.execute("CREATE RULE mine AS ON " + command + " TO outbox_event DO INSTEAD NOTHING");
  if (cause == "a trigger")
    outbox.execute(
        "CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
        "CREATE TRIGGER mine BEFORE " +
        command + " ON outbox_event FOR EACH ROW EXECUTE FUNCTION pass()");
  Processor processor{"postgresql://relay@127.0.0.1:" + std::to_string(outbox.server().port()) + "/postgres",
                      relay.server.url(), options};
  REQUIRE_WITHIN(20s, processor.phase() == ProcessorStatus::Phase::waiting_for_database);
  CHECK(processor.status().waiting_because.find(" rows of outbox_event stay as they are") !=
        std::string::npos);
  REQUIRE_WITHIN(20s, relay.trouble().find("row-level security") != std::string::npos);
  const auto beat = relay.beat();
  REQUIRE_WITHIN(20s, relay.beat() > beat + 6);
  CHECK(relay.epoch() == 1);
  CHECK(relay.jetstream.message_count("AUTH_EVENTS") == 10);
  if (cause == "row-level security")
    outbox.execute("CREATE POLICY writing ON outbox_event FOR ALL USING (true) WITH CHECK (true)");
  else
    outbox.execute("DROP " + cause.substr(2) + " mine ON outbox_event");
  REQUIRE_WITHIN(20s, outbox.count_status("PENDING") == 0);
  REQUIRE_WITHIN(20s, processor.active());
  CHECK(relay.sent_once());
}
