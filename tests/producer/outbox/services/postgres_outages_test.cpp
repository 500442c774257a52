// The processor while PostgreSQL, its sessions or its statements fail, or another host takes over.

#include "infrastructure/lease.hpp"
#include "support/catch.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/pgbouncer.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <optional>
#include <thread>

using namespace tidings;
using namespace tidings::test;

TEST_CASE(
    "a holder that stands still inside of its transaction keeps no successor out, also behind PgBouncer") {
  Outbox outbox{Engine::postgres};
  std::optional<PgBouncer> pooler;
  if (GENERATE(false, true)) pooler.emplace(outbox.server());
  const auto url = pooler ? pooler->url() : outbox.url();
  const auto frozen = Database::open(url, Database::Open::processor), next = Database::open(url);
  Lease its{"frozen", 200ms};
  Lease successor{"successor", 10s};
  REQUIRE(its.try_take(*frozen));
  Transaction transaction{*frozen};
  REQUIRE(its.renew(transaction));  // and no word more
  REQUIRE_WITHIN(30s, [&] {
    try {
      return successor.try_take(*next);
    } catch (const DatabaseError& error) {
      REQUIRE(error.retryable());
      return false;
    }
  }());
  CHECK_THROWS_AS(transaction.commit(), DatabaseError);
  CHECK(outbox.text("SELECT holder FROM outbox_lease") == "successor");
}

TEST_CASE("a PostgreSQL that crashes, stops or ends our sessions costs no attempt, no event and no order") {
  NatsServer server;
  JetStream jetstream{server.url()};
  Outbox outbox{Engine::postgres};
  outbox.add_many(3000, 11);
  auto options = quick();
  options.lease = 2s;
  options.processing_interval = 500ms;
  Processor processor{outbox, server.url(), options};
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") > 100);
  outbox.server().kill();
  REQUIRE_WITHIN(20s, processor.phase() == ProcessorStatus::Phase::waiting_for_database);
  outbox.server().start();
  outbox.add_many(1000, 11);
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") > 2000);
  for (int i = 0; i < 10; ++i) {
    (void)outbox.column(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidings' AND "
        "pid <> pg_backend_pid()");
    try {
      outbox.add_many(100, 11);
    } catch (const DatabaseError& error) {  // it was ours that was ended
      CHECK(error.retryable());
      --i;
    }
  }
  outbox.server().stop();
  outbox.server().start();
  REQUIRE_WITHIN(40s, outbox.count("status <> 'PUBLISHED'") == 0);
  processor.stop();
  CHECK(processor.error() == "");
  CHECK(outbox.count("true") == 5000);
  CHECK(outbox.count("retryCount <> 0 OR lastError IS NOT NULL") == 0);
  CHECK(ledger(outbox, jetstream.messages("AUTH_EVENTS")) == "");
}

TEST_CASE("serialization failures of the relay's own statements cost no attempt, no event and no order") {
  NatsServer server;
  JetStream jetstream{server.url()};
  Outbox outbox{Engine::postgres};
  // Sequences count on when a transaction is rolled back, so nothing fails for ever.
  outbox.execute(
      "CREATE SEQUENCE outbox_event_writes; CREATE SEQUENCE outbox_lease_writes; "
      "CREATE FUNCTION fail_now_and_then() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
      "IF nextval(TG_TABLE_NAME || '_writes') % TG_ARGV[0]::integer = 1 THEN RAISE serialization_failure; "
      "END IF; "
      "RETURN NULL; END $$; "
      "CREATE TRIGGER mark BEFORE UPDATE ON outbox_event EXECUTE FUNCTION fail_now_and_then(2); "
      "CREATE TRIGGER renew BEFORE INSERT OR UPDATE ON outbox_lease EXECUTE FUNCTION fail_now_and_then(5); "
      "ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'");
  auto options = quick();
  options.lease = 2s;
  options.processing_interval = 100ms;
  Processor processor{outbox, server.url(), options};
  for (int i = 1; i <= 5; ++i) {
    outbox.add_many(200, 11);
    REQUIRE_WITHIN(30s, outbox.count_status("PUBLISHED") == 200 * i);
  }
  processor.stop();
  CHECK(processor.error() == "");
  CHECK(outbox.number("SELECT last_value FROM outbox_event_writes") >= 9);  // each second failed
  CHECK(outbox.number("SELECT last_value FROM outbox_lease_writes") >= 10);
  CHECK(outbox.count("retryCount <> 0 OR lastError IS NOT NULL") == 0);
  CHECK(ledger(outbox, jetstream.messages("AUTH_EVENTS")) == "");
}

TEST_CASE("of several hosts the processor finds the one that takes writes, also when that changes") {
  NatsServer server;
  JetStream jetstream{server.url()};
  Outbox outbox{Engine::postgres};
  const ReservedPort standby;
  const auto both = "postgresql://tidings@127.0.0.1:" + std::to_string(outbox.server().port()) +
                    ",127.0.0.1:" + std::to_string(standby.number()) + "/postgres";
  auto options = quick();
  options.lease = 1s;
  std::stop_source stop;
  Connection connection{ConnectionOptions{.urls = {server.url()}}, stop.get_token()};
  OutboxProcessor processor{both, connection, options};
  std::thread work{[&] { processor.run(stop.get_token()); }};
  outbox.add("a");
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 1);
  outbox.server().kill();
  outbox.server().start_at(standby.number());
  outbox.execute(insert("after"));
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 2);
  stop.request_stop();
  work.join();
  CHECK(jetstream.message_count("AUTH_EVENTS") == 2);
}

TEST_CASE("events go out in order from a successor whose transaction ids have come less far") {
  // As a standby that lagged: it gives out again ids that the processor has seen the end of.
  NatsServer server;
  JetStream jetstream{server.url()};
  Outbox before{Engine::postgres}, after{Engine::postgres};
  const auto use_up_ids = [](Outbox& outbox, int count) {
    outbox.execute("DO $$ BEGIN FOR i IN 1.." + std::to_string(count) +
                   " LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$");
  };
  use_up_ids(before, 4000);
  const auto both = "postgresql://tidings@127.0.0.1:" + std::to_string(before.server().port()) +
                    ",127.0.0.1:" + std::to_string(after.server().port()) + "/postgres";
  auto options = quick();
  options.lease = 1s;
  Processor processor{both, server.url(), options};
  before.add("a");
  REQUIRE_WITHIN(20s, before.count_status("PUBLISHED") == 1);
  after.add("a");
  use_up_ids(after, 8000);
  after.add("a");
  after.execute(
      "INSERT INTO outbox_lease VALUES " +
      before.text("SELECT format('(%L, %L, %s, %s, %s)', name, holder, epoch, beat, expiresAt) FROM "
                  "outbox_lease"));
  before.server().kill();
  REQUIRE_WITHIN(20s, after.count_status("PUBLISHED") == 2);
  processor.stop();
  CHECK(processor.error() == "");
  auto messages = jetstream.messages("AUTH_EVENTS");
  REQUIRE(messages.size() == 3);
  messages.erase(messages.begin());  // the event of before
  CHECK(ledger(after, messages) == "");
}

TEST_CASE("Prisma's parameters of a URL are understood") {
  Outbox outbox{Engine::postgres};
  outbox.execute("CREATE SCHEMA shop");
  const auto shop = Database::open(outbox.url() + "?schema=shop&connection_limit=5&pgbouncer=true");
  shop->migrate();
  shop->require_schema();
  CHECK(outbox.number(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'shop' AND tablename = 'outbox_event'") == 1);
}

TEST_CASE(
    "a database or login that is not there is an error that waiting does not mend, and no password is told") {
  const PostgresServer server;
  auto url = server.url();
  url.replace(url.find("tidings@"), 8, "tidings:secret@");
  try {
    (void)Database::open(url.substr(0, url.rfind('/')) + "/nowhere");
    FAIL("no error");
  } catch (const DatabaseError& error) {
    CHECK_FALSE(error.retryable());
    CHECK_THAT(error.what(), ContainsSubstring("\"nowhere\" does not exist"));
    CHECK_THAT(error.what(), !ContainsSubstring("secret"));
  }
  const ReservedPort nobody;
  try {
    (void)Database::open("postgresql://a:secret@127.0.0.1:" + std::to_string(nobody.number()) + "/b");
    FAIL("no error");
  } catch (const DatabaseError& error) {
    CHECK(error.retryable());
    CHECK_THAT(error.what(), !ContainsSubstring("secret"));
  }
}
