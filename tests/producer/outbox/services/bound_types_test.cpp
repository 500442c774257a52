// SQLite keeps what a driver binds: many bind texts as BLOBs, and a UUID as its 16 bytes.

#include "support/broker.hpp"
#include "support/catch.hpp"
#include "support/log.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <tidings/dead_letter_rows.hpp>
#include <tidings/outbox_processor.hpp>

#include <string>
#include <utility>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using Phase = ProcessorStatus::Phase;

namespace {

/// As a driver writes: each value is SQL.
struct Row {
  std::string id, aggregate_id = "'a'", aggregate_type = "'User'", event_type = "'user.created'";
};

void add(const Outbox& outbox, const Row& row) {
  outbox.execute(
      "INSERT INTO outbox_event(id, aggregateId, aggregateType, eventType, eventData, occurredAt, "
      "updatedAt) VALUES (" +
      row.id + ", " + row.aggregate_id + ", " + row.aggregate_type + ", " + row.event_type +
      ", '{}', '2026-03-01 10:00:00', '2026-03-01 10:00:00')");
}

std::vector<std::string> stored_ids(JetStream& jetstream) {
  std::vector<std::string> ids;
  for (const auto& message : jetstream.messages("AUTH_EVENTS")) ids.push_back(message.header("ce-id"));
  return ids;
}

constexpr const char* uuid = "0198c5a2-0000-7000-8000-00000000000a";
constexpr const char* uuid_as_bytes = "x'0198c5a2000070008000000000000002'";
constexpr const char* all_settled = "status NOT IN ('PUBLISHED', 'DEAD_LETTER')";

}  // namespace

TEST_CASE("an id is published once and its row marked, whatever type a driver has bound") {
  Broker broker;
  Outbox outbox;
  const bool many = GENERATE(false, true);  // settled by themselves, and within a run
  add(outbox, {.id = "CAST('" + std::string{uuid} + "' AS BLOB)"});
  add(outbox, {.id = uuid_as_bytes});
  add(outbox, {.id = "x'6f64643a'"});
  add(outbox, {.id = "x'ff0a'"});  // no text at all
  for (int i = 0; many && i < 20; ++i) add(outbox, {.id = "'text " + std::to_string(i) + "'"});
  Processor processor{outbox, broker.server.url(), quick_polling()};
  REQUIRE_WITHIN(10s, outbox.count(all_settled) == 0);
  CHECK(outbox.column("SELECT hex(id) FROM outbox_event WHERE status = 'DEAD_LETTER'") ==
        std::vector<std::string>{"FF0A"});
  CHECK(outbox.text("SELECT lastError FROM outbox_event WHERE status = 'DEAD_LETTER'") ==
        "id: has a control character");
  const auto ids = stored_ids(broker.jetstream);
  REQUIRE(ids.size() == (many ? 23U : 3U));
  CHECK(ids[0] == uuid);
  CHECK(ids[1] == "0198c5a2-0000-7000-8000-000000000002");
  CHECK(ids[2] == "odd:");
  CHECK(outbox.repository().find(ids[1]));
}

TEST_CASE("ids are shown as texts where 16 bytes are a UUID's, and as they are otherwise") {
  Outbox outbox;
  using Forms = std::vector<std::pair<std::string, std::string>>;  // as bound, as shown
  const Forms forms{{"x'F47AC10B58CC4372A5670E02B2C3D479'", "f47ac10b-58cc-4372-a567-0e02b2c3d479"},
                    {"x'f47ac10b58cc0372a5670e02b2c3d479'",
                     "\xf4\x7a\xc1\x0b\x58\xcc\x03\x72\xa5\x67\x0e\x02\xb2\xc3\xd4\x79"},  // version 0
                    {"x'414243444546704748494a4b4c4d4e4f'", "ABCDEFpGHIJKLMNO"},           // variant
                    {"'abcdefAéghijklm'", "abcdefAéghijklm"},  // a text of such bytes
                    {"CAST('short' AS BLOB)", "short"},
                    {"'0198C5A2-0000-7000-8000-00000000000A'", "0198C5A2-0000-7000-8000-00000000000A"}};
  for (const auto& [bound, shown] : forms) add(outbox, {.id = bound, .aggregate_id = bound});
  outbox.execute("UPDATE outbox_event SET status = 'FAILED'");
  const auto blocked = outbox.repository().stats().blocked;
  outbox.execute("UPDATE outbox_event SET status = 'DEAD_LETTER'");
  const auto dead = DeadLetterRows{outbox.database()}.read({}, 10);
  const auto listed = outbox.repository().list(RowStatus::dead_letter, 10);
  REQUIRE(blocked.size() == forms.size());
  REQUIRE(dead.size() == forms.size());
  REQUIRE(listed.size() == forms.size());
  for (std::size_t i = 0; i < forms.size(); ++i) {
    CAPTURE(forms[i].first);
    CHECK(blocked[i].event_id == forms[i].second);
    CHECK(blocked[i].aggregate_id == forms[i].second);
    CHECK(dead[i].id == forms[i].second);
    CHECK(outbox.repository().find(forms[i].second));
  }
}

TEST_CASE("the events of an aggregate wait for its failed one, whatever types its id and type are bound as") {
  Broker broker;
  const Outbox outbox;
  const auto [text, bytes] =
      GENERATE(table<std::string, std::string>({{"'u'", "x'75'"},
                                                {"x'75'", "'u'"},
                                                {"'0198c5a2-0000-7000-8000-000000000002'", uuid_as_bytes},
                                                {uuid_as_bytes, uuid_as_bytes}}));
  CAPTURE(text, bytes);
  add(outbox, {.id = "'bad'", .aggregate_id = bytes, .event_type = "'not a subject'"});
  add(outbox, {.id = "'1'", .aggregate_id = text});
  add(outbox, {.id = "'2'", .aggregate_id = bytes, .aggregate_type = "x'55736572'"});
  add(outbox, {.id = "'3'", .aggregate_id = text});
  add(outbox, {.id = "'other'", .aggregate_id = "x''"});
  Processor processor{outbox, broker.server.url(), quick_polling()};
  REQUIRE_WITHIN(10s, outbox.count(all_settled) == 0);
  CHECK(outbox.value("bad", "status || retryCount") == "DEAD_LETTER5");
  CHECK(stored_ids(broker.jetstream) == std::vector<std::string>{"other", "1", "2", "3"});
}

TEST_CASE("a mark that changes no row is told, and nothing more is published until it does") {
  Broker broker;
  Outbox outbox;
  outbox.execute(
      "CREATE TRIGGER keep BEFORE UPDATE ON outbox_event BEGIN SELECT RAISE(IGNORE); END;"
      "CREATE TRIGGER keep_too BEFORE DELETE ON outbox_event BEGIN SELECT RAISE(IGNORE); END");
  outbox.add_many(20, 20);
  const Log log;
  auto options = quick_polling();
  options.retention = std::chrono::days{GENERATE(0, 7)};
  Processor processor{outbox, broker.server.url(), options};
  REQUIRE_WITHIN(10s, processor.phase() == Phase::waiting_for_database);
  outbox.add("later");
  CHECK_FALSE(eventually(300ms, [&] { return broker.jetstream.message_count("AUTH_EVENTS") > 20; }));
  outbox.execute("DROP TRIGGER keep; DROP TRIGGER keep_too");
  REQUIRE_WITHIN(10s, outbox.count_status("PENDING") == 0);
  processor.stop();
  CHECK(processor.status().published == 21);
  CHECK_THAT(log.text(), ContainsSubstring("does not change; look for a trigger of outbox_event"));
}
