// What other programs write into the outbox at their worst, mixed into good rows: the good ones go out once
// and in order, the bad ones end as dead letters that say why, and the relay stays active.
// TIDINGS_TEST_EVENTS says how many good ones there are, if not 2,000.

#include "support/catch.hpp"
#include "support/engine.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_processor.hpp>

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

/// Each value is SQL.
struct Row {
  std::string id{}, aggregate_id{};  // empty: the test's choice
  std::string event_type = "'user.created'";
  std::string event_data = R"('{"data": {"n": 1}, "metadata": {"source": "shop"}}')";
  std::string event_version = "1";
  std::string occurred_at = "'2026-03-01 10:00:00.123'";
  std::string retry_count = "0";
  std::string status = "'PENDING'";
};

/// Can be written only once.
bool has_own_place(const Row& row) {
  return !row.id.empty() || !row.aggregate_id.empty() || row.status != "'PENDING'";
}

/// A row that goes out, however odd it is.
struct Odd {
  Row row;
  std::string ce_id{};  // where that is not what `id` says
};

struct Bad {
  Row row;
  std::string reason;
};

bool on_sqlite() { return engine_under_test() == Engine::sqlite; }

int good_events() {
  const char* const value = std::getenv("TIDINGS_TEST_EVENTS");
  return value == nullptr ? 2000 : std::stoi(value);
}

std::string data_with(const std::string& metadata) {
  return R"('{"data": 1, "metadata": )" + metadata + "}'";
}

std::string nested(std::size_t levels) {
  return R"('{"data": )" + std::string(levels, '[') + std::string(levels, ']') + "}'";
}

std::vector<Odd> odd_rows() {
  std::vector<Odd> rows{{{.occurred_at = "'2026-03-01 10:00:00.123 +00:00'"}},
                        {{.event_data = data_with(R"({"n": 12345678901234567890123})")}},
                        {{.event_data = data_with("null")}},
                        {{.event_data = R"('{"userId": "u"}')"}},
                        {{.event_data = R"('{"data": null}')"}},
                        {{.event_data = R"('{"data": "Zoë 😀", "metadata": {"who": "Zoë 😀"}}')"}},
                        {{.event_data = data_with(R"({"source": 7, "traceparent": [], "tracestate": ""})")}},
                        {{.aggregate_id = "'a b\n\t*.> \"%41 Zoë'"}},
                        {{.aggregate_id = "''"}},
                        {{.event_version = "0"}},
                        {{.event_version = "2147483647"}},
                        {{.retry_count = "-7"}},
                        {{.retry_count = "2147483647"}},
                        {{.retry_count = "1", .status = "'FAILED'"}},
                        {{.status = "'PROCESSING'"}},
                        {{.id = "'ckv9 % / \\ '' id'"}, "ckv9%20%25%20/%20\\%20'%20id"}};
  if (!on_sqlite()) {
    rows.push_back({{.occurred_at = "'infinity'"}});
    rows.push_back({{.occurred_at = "'0044-03-15 12:00:00 BC'"}});
    return rows;
  }
  rows.push_back({{.occurred_at = "1772359200123"}});
  rows.push_back({{.occurred_at = "'yesterday'"}});
  rows.push_back({{.occurred_at = "x'00ff'"}});
  rows.push_back({{.id = "CAST('bytes-of-a-text' AS BLOB)"}, "bytes-of-a-text"});
  rows.push_back({{.id = "x'0198c5a2000070008000000000000002'"}, "0198c5a2-0000-7000-8000-000000000002"});
  rows.push_back({{.aggregate_id = "x'673939'"}});
  rows.push_back({{.aggregate_id = "x'0198c5a2000070008000000000000003'"}});
  rows.push_back({{.event_data = R"(CAST('{"data": 1}' AS BLOB))"}});
  rows.push_back({{.event_type = "CAST('user.created' AS BLOB)"}});
  return rows;
}

std::vector<Bad> bad_rows() {
  const std::string no_object = "eventData: is not a JSON object", version = "eventVersion: ";
  std::vector<Bad> rows{
      {{.event_type = "''"}, "eventType: \"\" cannot be part of a subject"},
      {{.event_type = "'a b'"}, "eventType: \"a b\" cannot be part of a subject"},
      {{.event_type = "'a.>'"}, "eventType: \"a.>\" cannot be part of a subject"},
      {{.event_type = "'a..b'"}, "eventType: \"a..b\" cannot be part of a subject"},
      {{.event_type = "'" + std::string(300, 'x') + "'"}, "255 characters"},
      {{.event_data = "'[1]'"}, no_object},
      {{.event_data = "'7'"}, no_object},
      {{.event_data = "'\"text\"'"}, no_object},
      {{.event_data = nested(3000)}, "eventData: is nested deeper than 1000 levels"},
      {{.event_data = R"('{"data": ")" + std::string(2'000'000, 'x') + "\"}'"},
       "larger than the server takes"},
      {{.event_data = R"('{"data": ")" + std::string(1'048'500, 'x') + "\"}'"},
       "larger than the server takes"},
      {{.event_data = data_with("[1]")}, "eventData.metadata: is not a JSON object"},
      {{.event_data = data_with(R"({"traceparent": "a\nNats-Rollup: all"})")}, "traceparent: has a control"},
      {{.event_data = data_with(R"({"tracestate": " a"})")}, "tracestate: begins or ends with a space"},
      {{.event_version = "-1"}, version + "-1 is not"},
      {{.id = "''"}, "id: is empty"},
      {{.id = "'a\nb'"}, "id: has a control character"},
      {{.id = "' a'"}, "id: begins or ends with a space"},
      {{.event_type = "'no subject'", .retry_count = "2147483647"}, "\"no subject\" cannot be"}};
  if (!on_sqlite()) return rows;
  rows.push_back({{.event_version = "1099511627776"}, version + "1099511627776 is not"});
  rows.push_back({{.event_version = "'two'"}, version + "two is not"});
  rows.push_back({{.event_version = "1.5"}, version + "1.5 is not"});
  rows.push_back({{.id = "x'ff0a'"}, "id: has a control character"});
  rows.push_back({{.event_data = "''"}, no_object});
  rows.push_back({{.event_data = "'no JSON'"}, no_object});
  rows.push_back({{.event_data = "x'ff'"}, no_object});
  rows.push_back({{.event_data = R"(CAST('{"data": "' || x'ff' || '"}' AS TEXT))"}, no_object});
  rows.push_back({{.event_data = nested(200'000)}, "eventData: is nested deeper than 1000 levels"});
  return rows;
}

/// Rows as they are written, and what is to become of them.
class Script {
 public:
  void good(int number) {
    const auto id = "good-" + std::to_string(number);
    write({.id = "'" + id + "'", .aggregate_id = next_aggregate()});
    expect(id);
  }
  void odd(const Odd& odd) {
    auto row = odd.row;
    const auto id = odd.ce_id.empty() ? "odd-" + std::to_string(rows_) : odd.ce_id;
    if (row.id.empty()) row.id = "'" + id + "'";
    const bool alone = !row.aggregate_id.empty() || row.status != "'PENDING'";
    if (row.aggregate_id.empty()) row.aggregate_id = alone ? "'alone " + id + "'" : next_aggregate();
    write(row);
    if (alone)
      expected_alone_.push_back(id);
    else
      expect(id);
  }
  void bad(const Bad& bad) {
    auto row = bad.row;
    if (row.id.empty()) row.id = "'bad-" + std::to_string(rows_) + "'";
    row.aggregate_id = next_aggregate();
    write(row);
    ++reasons_[bad.reason];
    ++dead_;
  }

  /// The statements since the last call.
  std::string take() { return std::exchange(statements_, {}); }

  [[nodiscard]] int dead() const { return dead_; }
  [[nodiscard]] const std::map<std::string, int>& reasons() const { return reasons_; }

  /// What is wrong with the stream: empty when all is well.
  [[nodiscard]] std::string compare(const std::vector<StoredMessage>& stream) const {
    std::map<std::string, std::vector<std::string>> stored;
    std::string wrong;
    for (const auto& message : stream)
      stored[message.header("ce-subject")].push_back(message.header("ce-id"));
    for (const auto& [aggregate, ids] : expected_)
      if (const auto& is = stored[aggregate]; is != ids) {
        const auto [at, wanted] = std::ranges::mismatch(is, ids);
        wrong += aggregate + " has " + (at == is.end() ? "no more" : *at) + " instead of " +
                 (wanted == ids.end() ? "no more" : *wanted) + "\n";
      }
    for (const auto& id : expected_alone_)
      if (std::ranges::count(stream, id, [](const auto& message) { return message.header("ce-id"); }) != 1)
        wrong += "not there once: " + id + "\n";
    return wrong;
  }

 private:
  static constexpr int aggregates = 23;

  std::string next_aggregate() {
    aggregate_ = "g" + std::to_string(rows_ % aggregates) + "-0";
    return "'" + aggregate_ + "'";
  }
  void expect(const std::string& id) { expected_[aggregate_].push_back(id); }
  void write(const Row& row) {
    const auto created = to_iso8601(first_ + std::chrono::milliseconds{rows_});
    ++rows_;
    statements_ +=
        "INSERT INTO outbox_event(id, aggregateId, aggregateType, eventType, eventData, eventVersion, "
        "occurredAt, retryCount, status, createdAt, updatedAt) VALUES (" +
        row.id + ", " + row.aggregate_id + ", 'User', " + row.event_type + ", " + row.event_data + ", " +
        row.event_version + ", " + row.occurred_at + ", " + row.retry_count + ", " + row.status + ", '" +
        created + "', '2026-03-01 10:00:00');\n";
  }

  // By a clock that is ahead. Rows that are created a while before they are written may be read late in
  // PostgreSQL, and on a busy machine much may lie between the two.
  const Timestamp first_ = now() + std::chrono::hours{1};
  int rows_ = 0, dead_ = 0;
  std::string aggregate_, statements_;
  std::map<std::string, std::vector<std::string>> expected_;  // ids of each aggregate, in order
  std::vector<std::string> expected_alone_;
  std::map<std::string, int> reasons_;
};

}  // namespace

TEST_CASE("hostile rows among good ones end as dead letters with their reason, and hold up nothing else",
          "[engines]") {
  NatsServer server;
  JetStream jetstream{server.url()};
  Outbox outbox{engine_under_test()};
  Script script;
  const auto odd = odd_rows();
  const auto bad = bad_rows();
  const int good = good_events();
  const auto write = [&](int from, int to) {
    for (int i = from; i < to; ++i) {
      script.good(i);
      const auto at = static_cast<std::size_t>(i);
      const auto kind = i < good / 2 ? at / 20 : (at - static_cast<std::size_t>(good / 2)) / 20;
      const bool again = i >= good / 2;  // under the running relay
      if (i % 20 == 0 && kind < odd.size() && !(again && has_own_place(odd[kind].row))) script.odd(odd[kind]);
      if (i % 20 == 10 && kind < bad.size() && !(again && has_own_place(bad[kind].row)))
        script.bad(bad[kind]);
    }
    outbox.execute("BEGIN; " + script.take() + "COMMIT");
  };
  write(0, good / 4);
  OutboxProcessorOptions options;
  options.processing_interval = 100ms;
  options.backoff = {.base = 20ms, .max = 100ms};
  Processor processor{outbox, server.url(), options};
  for (int part = 1; part < 4; ++part) write(good * part / 4, good * (part + 1) / 4);
  REQUIRE_WITHIN(100s, outbox.count("status NOT IN ('PUBLISHED', 'DEAD_LETTER')") == 0);
  CHECK(processor.active());
  const auto stream = jetstream.messages("AUTH_EVENTS");
  CHECK(script.compare(stream) == "");
  CHECK(outbox.count_status("DEAD_LETTER") == script.dead());
  for (const auto& [reason, count] : script.reasons()) {
    INFO(reason);
    CHECK(outbox.count("status = 'DEAD_LETTER' AND lastError LIKE '%" + reason + "%'") == count);
  }
  processor.stop();
  CHECK(processor.error().empty());
}
