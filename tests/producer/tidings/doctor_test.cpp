// `tidings doctor`.

#include "clinic.hpp"

#include <fstream>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using nlohmann::json;

namespace {

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("a doctor finds nothing wrong where a relay runs, and stores nothing", "[engines]") {
  Clinic clinic{engine_under_test()};
  const auto before = clinic.diagnose();
  CHECK(before.exit == exited(0));
  CHECK_THAT(before.detail("stream"), ContainsSubstring("the relay makes it at its start"));
  const auto without = clinic.diagnose({"--no-manage-stream"});
  CHECK(without.exit == exited(1));
  CHECK(without.failed() == Names{"stream"});

  clinic.add_stream();
  clinic.outbox.add("a");
  clinic.outbox.add("a", "{}", "user.renamed");
  const auto diagnosis = clinic.diagnose();
  CHECK(diagnosis.exit == exited(0));
  for (const auto* check :
       {"database", "rights", "schema", "indexes", "statistics", "crashes", "clock of the database", "server",
        "jetstream", "stream", "permissions", "partitions", "clock of the server", "retention"}) {
    INFO(check);
    CHECK(diagnosis.outcome(check) == "ok");
    CHECK(diagnosis.fix(check) == "");
  }
  CHECK(diagnosis.detail("permissions") == "the 2 pending types may be published");
  CHECK(clinic.jetstream.message_count("AUTH_EVENTS") == 0);
  CHECK_THAT(clinic.ask().out,
             ContainsSubstring("ok") && ContainsSubstring("AUTH_EVENTS takes auth.events.>"));
}

TEST_CASE("a doctor says what is away, and looks at the rest", "[engines]") {
  Clinic clinic{engine_under_test()};
  clinic.add_stream();
  clinic.server.stop();
  const auto no_server = clinic.diagnose();
  CHECK(no_server.exit == exited(1));
  CHECK(no_server.failed() == Names{"server"});
  CHECK(no_server.outcome("schema") == "ok");
  CHECK_THAT(no_server.fix("server"), ContainsSubstring("NATS_URL"));
  clinic.server.start();
  const auto elsewhere = clinic.diagnose({}, {{"DATABASE_URL", "sqlite:/no/such/folder/auth.db"}});
  CHECK(elsewhere.failed() == Names{"database"});
  CHECK(elsewhere.outcome("stream") == "ok");
  CHECK(elsewhere.outcome("permissions") == "skipped");  // nobody knows what is pending
  CHECK(clinic.ask({}, {{"DATABASE_URL", "mysql://host/auth"}}).exit == exited(2));
  CHECK(clinic.ask({}, {{"DATABASE_URL", "postgresql://127.0.0.1/auth?no_such=1"}}).exit == exited(2));
  CHECK(clinic.ask({}, {{"OUTBOX_BATCH_SIZE", "many"}}).exit == exited(2));
}

TEST_CASE("a doctor tells a file that is no database from one without an outbox") {
  const Clinic clinic{Engine::sqlite};
  const TempDir folder;
  std::ofstream{folder / "letter.txt"} << std::string(5000, 'x');
  const auto diagnosis =
      clinic.diagnose({}, {{"DATABASE_URL", "sqlite:" + (folder / "letter.txt").string()}});
  CHECK(diagnosis.failed() == Names{"database"});
  CHECK_THAT(diagnosis.detail("database"), ContainsSubstring("file is not a database"));
}

TEST_CASE("a doctor finds tables and indexes that are missing", "[engines]") {
  const Clinic clinic{engine_under_test()};
  clinic.outbox.execute("DROP INDEX \"outbox_event_aggregateId_aggregateType_idx\"");
  const auto diagnosis = clinic.diagnose();
  CHECK(diagnosis.exit == exited(1));
  CHECK(diagnosis.failed() == Names{"indexes"});
  CHECK_THAT(diagnosis.detail("indexes"), ContainsSubstring("none on (aggregateId,aggregateType)"));
  clinic.outbox.execute(diagnosis.fix("indexes"));
  CHECK(clinic.diagnose().exit == exited(0));

  clinic.outbox.execute("DROP TABLE outbox_lease");
  const auto without = clinic.diagnose();
  CHECK(without.failed() == Names{"schema"});
  CHECK_THAT(without.detail("schema"), ContainsSubstring("outbox_lease"));
  CHECK_THAT(without.fix("schema"), ContainsSubstring("tidings outbox init"));
  CHECK(without.outcome("indexes") == "skipped");
}

TEST_CASE("a doctor names the rights that the relay's login lacks in PostgreSQL") {
  Clinic clinic{Engine::postgres};
  clinic.outbox.execute(
      "CREATE ROLE relay LOGIN; GRANT SELECT, UPDATE ON outbox_event, outbox_state TO relay; "
      "GRANT SELECT, INSERT, UPDATE ON outbox_lease TO relay");
  const Settings as_relay{{"DATABASE_URL", "postgresql://relay@127.0.0.1:" +
                                               std::to_string(clinic.outbox.server().port()) + "/postgres"}};
  const auto diagnosis = clinic.diagnose({}, as_relay);
  CHECK(diagnosis.failed() == Names{"rights"});
  CHECK(diagnosis.detail("rights") ==
        "this login lacks DELETE on outbox_event, INSERT on outbox_state, DELETE on outbox_state");
  clinic.outbox.execute(diagnosis.fix("rights"));
  CHECK(clinic.diagnose({}, as_relay).failed().empty());
}

TEST_CASE("a doctor compares column types and looks at what vacuums PostgreSQL's table") {
  const Clinic clinic{Engine::postgres};
  clinic.outbox.execute("ALTER TABLE outbox_event SET (autovacuum_enabled = false)");
  const auto diagnosis = clinic.diagnose();
  CHECK(diagnosis.failed() == Names{"statistics"});
  CHECK_THAT(diagnosis.fix("statistics"), ContainsSubstring("autovacuum_enabled = true"));
  clinic.outbox.execute("ALTER TABLE outbox_event ALTER id TYPE uuid USING id::uuid");
  CHECK_THAT(clinic.diagnose().detail("schema"), ContainsSubstring(R"("id" of type uuid)"));
}

TEST_CASE("a doctor says what a crash of PostgreSQL would cost") {
  const Clinic clinic{Engine::postgres};
  clinic.outbox.execute("ALTER TABLE outbox_event SET UNLOGGED");
  const auto diagnosis = clinic.diagnose();
  CHECK(diagnosis.failed() == Names{"crashes"});
  CHECK_THAT(diagnosis.detail("crashes"), ContainsSubstring("outbox_event is UNLOGGED"));
  CHECK(diagnosis.fix("crashes") == "ALTER TABLE outbox_event SET LOGGED");
}

TEST_CASE("a doctor compares the stream with what the outbox needs", "[engines]") {
  Clinic clinic{engine_under_test()};
  const auto [config, outcome, part] = GENERATE(table<json, std::string, std::string>(
      {{json{{"storage", "memory"}}, "failed", "storage memory, expected file"},
       {json{{"subjects", {"auth.events.user.created"}}}, "failed", "subjects"},
       {json{{"max_msgs", 100}}, "warning", "max_msgs 100"}}));
  clinic.add_stream(config);
  const auto diagnosis = clinic.diagnose();
  CHECK(diagnosis.outcome("stream") == outcome);
  CHECK_THAT(diagnosis.detail("stream"), ContainsSubstring(part));
  CHECK(diagnosis.fix("stream") != "");
  CHECK(diagnosis.exit == exited(outcome == "failed" ? 1 : 0));
}

TEST_CASE("a doctor names the stream that has the subjects of one that is not there yet") {
  Clinic clinic{Engine::sqlite};
  clinic.add_stream();
  const auto diagnosis = clinic.diagnose({}, {{"OUTBOX_STREAM", "SHOP_EVENTS"}});
  CHECK(diagnosis.failed() == Names{"stream"});
  CHECK_THAT(diagnosis.detail("stream"), ContainsSubstring("AUTH_EVENTS takes auth.events.>"));
  CHECK_THAT(diagnosis.fix("stream"), ContainsSubstring("OUTBOX_STREAM=AUTH_EVENTS"));
}

TEST_CASE("a doctor tries each type that is pending, and names those that may not be published",
          "[engines]") {
  Clinic clinic{engine_under_test(),
                {.config = R"(authorization { users [
                     { user: all, password: pw }
                     { user: relay, password: pw, permissions {
                         publish: [ "auth.events.user.created", "$JS.API.STREAM.INFO.AUTH_EVENTS" ]
                         subscribe: "_INBOX.>" } } ] })",
                 .arguments = {},
                 .jetstream = true,
                 .monitoring = false,
                 .host = {}},
                "all:pw@"};
  clinic.add_stream();
  clinic.outbox.add("a");
  clinic.outbox.add("a", "{}", "user.renamed");
  clinic.outbox.add("a", "{}", "user renamed");
  const auto diagnosis = clinic.diagnose({}, {{"NATS_URL", clinic.url("relay:pw@")}});
  CHECK(diagnosis.exit == exited(1));
  CHECK(diagnosis.failed() == Names{"permissions"});
  CHECK_THAT(
      diagnosis.detail("permissions"),
      ContainsSubstring("user.renamed: Permissions Violation for Publish to \"auth.events.user.renamed\"") &&
          ContainsSubstring("\"user renamed\" cannot be part of a subject") &&
          !ContainsSubstring("user.created"));
  CHECK(diagnosis.outcome("jetstream") == "skipped");
  CHECK(diagnosis.outcome("clock of the server") == "skipped");
  CHECK(clinic.jetstream.message_count("AUTH_EVENTS") == 0);
}

TEST_CASE("a doctor warns of a stream that keeps events for longer than consumers remember them",
          "[engines]") {
  Clinic clinic{engine_under_test()};
  constexpr std::int64_t hour = 3'600'000'000'000;
  clinic.add_stream({{"max_age", 100 * hour}});
  CHECK(clinic.diagnose().outcome("retention") == "ok");
  const auto shorter = clinic.diagnose({"--inbox-retention", "99"});
  CHECK(shorter.exit == exited(0));
  CHECK(shorter.outcome("retention") == "warning");
  CHECK_THAT(shorter.detail("retention"), ContainsSubstring("for 100 h") && ContainsSubstring("for 99 h"));
}
