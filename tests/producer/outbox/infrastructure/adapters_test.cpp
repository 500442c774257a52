// Events that a service adds over its own connection and in its own transaction, beside a table of its own.

#include "infrastructure/commit_watch.hpp"
#include "support/catch.hpp"
#include "support/outbox.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_adapters.hpp>
#include <tidings/outbox_pqxx.hpp>

#include <SQLiteCpp/SQLiteCpp.h>
#include <libpq-fe.h>
#include <sqlite3.h>

#include <functional>
#include <memory>

using namespace tidings;
using namespace tidings::test;

namespace {

DomainEvent order_placed(const std::string& order) {
  DomainEvent event;
  event.id = "event-" + order;
  event.aggregate_id = order;
  event.aggregate_type = "Order";
  event.event_type = "order.placed";
  event.event_version = 3;
  event.data = {{"orderId", order}, {"note", "it's \"Zoë\""}};
  event.metadata = {{"source", "shop"}};
  return event;
}

enum class End { commit, rollback };

/// Begins a transaction, writes the order to shop_order, adds `event` unless it is null, and ends it.
using PlaceOrder = std::function<void(const std::string& order, const DomainEvent* event, End end)>;

void check(sqlite3* connection, int result) {
  if (result != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(connection));
}

PlaceOrder over_sqlite3(const Outbox& outbox) {
  sqlite3* raw = nullptr;
  check(raw, sqlite3_open(outbox.path().c_str(), &raw));
  const std::shared_ptr<sqlite3> connection{raw, sqlite3_close};
  return [connection](const std::string& order, const DomainEvent* event, End end) {
    const auto run = [&](const std::string& sql) {
      check(connection.get(), sqlite3_exec(connection.get(), sql.c_str(), nullptr, nullptr, nullptr));
    };
    run("BEGIN IMMEDIATE; INSERT INTO shop_order VALUES ('" + order + "')");
    if (event != nullptr) add_to_outbox(connection.get(), *event);
    run(end == End::commit ? "COMMIT" : "ROLLBACK");
  };
}

PlaceOrder over_sqlitecpp(const Outbox& outbox) {
  const auto database = std::make_shared<SQLite::Database>(outbox.path(), SQLite::OPEN_READWRITE);
  return [database](const std::string& order, const DomainEvent* event, End end) {
    SQLite::Transaction transaction{*database};
    SQLite::Statement insert{*database, "INSERT INTO shop_order VALUES (?)"};
    insert.bind(1, order);
    insert.exec();
    if (event != nullptr) add_to_outbox(*database, *event);
    if (end == End::commit) transaction.commit();
  };
}

PlaceOrder over_libpq(const Outbox& outbox) {
  const std::shared_ptr<PGconn> connection{PQconnectdb(outbox.url().c_str()), PQfinish};
  return [connection](const std::string& order, const DomainEvent* event, End end) {
    const auto run = [&](const std::string& sql) {
      const std::unique_ptr<PGresult, decltype(&PQclear)> result{PQexec(connection.get(), sql.c_str()),
                                                                 PQclear};
      if (PQresultStatus(result.get()) != PGRES_COMMAND_OK)
        throw std::runtime_error(PQerrorMessage(connection.get()));
    };
    run("BEGIN; INSERT INTO shop_order VALUES ('" + order + "')");
    if (event != nullptr) add_to_outbox(connection.get(), *event);
    run(end == End::commit ? "COMMIT" : "ROLLBACK");
  };
}

PlaceOrder over_libpqxx(const Outbox& outbox) {
  const auto connection = std::make_shared<pqxx::connection>(outbox.url());
  return [connection](const std::string& order, const DomainEvent* event, End end) {
    pqxx::work transaction{*connection};
    transaction.exec("INSERT INTO shop_order VALUES (" + transaction.quote(order) + ")");
    if (event != nullptr) add_to_outbox(transaction, *event);
    if (end == End::commit) transaction.commit();
  };
}

struct Adapter {
  std::string name;
  Engine engine;
  PlaceOrder (*connect)(const Outbox&);
};

const auto adapters = std::to_array<Adapter>({{"sqlite3", Engine::sqlite, over_sqlite3},
                                              {"SQLiteCpp", Engine::sqlite, over_sqlitecpp},
                                              {"libpq", Engine::postgres, over_libpq},
                                              {"libpqxx", Engine::postgres, over_libpqxx}});

/// An outbox beside the service's own table.
struct Shop : Outbox {
  explicit Shop(Engine its_engine) : Outbox(its_engine) {
    execute("CREATE TABLE shop_order(id text PRIMARY KEY)");
  }
};

std::vector<std::string> pending(Outbox& outbox) {
  outbox.repository().rewind();
  std::vector<OutboxEvent> events;
  outbox.repository().read_pending(100, events);
  std::vector<std::string> ids;
  for (const auto& event : events) ids.push_back(event.id);
  return ids;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("an event that is added over a service's own connection is one commit with what it tells of") {
  for (const auto& [name, engine, connect] : adapters) {
    INFO(name);
    Shop outbox{engine};
    const auto place = connect(outbox);
    const auto first = order_placed("o-1"), second = order_placed("o-2");

    place("o-1", &first, End::rollback);
    CHECK(outbox.number("SELECT count(*) FROM shop_order") == 0);
    CHECK(outbox.count("1 = 1") == 0);

    const auto begun = now();
    place("o-1", &first, End::commit);
    place("o-2", &second, End::commit);
    CHECK(outbox.column("SELECT id FROM shop_order ORDER BY id") == Texts{"o-1", "o-2"});
    CHECK(pending(outbox) == Texts{"event-o-1", "event-o-2"});

    const auto row = outbox.repository().find("event-o-1").value();
    CHECK(row.event.aggregate_id == "o-1");
    CHECK(row.event.aggregate_type == "Order");
    CHECK(row.event.event_type == "order.placed");
    CHECK(row.event.event_version == 3);
    CHECK(row.event.occurred_at == first.occurred_at);
    CHECK(row.event.status == RowStatus::pending);
    CHECK(row.event.updated_at >= begun);
    CHECK(parse_timestamp(row.created_at).value() >= begun);
    CHECK(nlohmann::json::parse(row.event.event_data) == nlohmann::json::parse(first.event_data()));
  }
}

TEST_CASE("an event is refused outside of a transaction, as it would be a commit of its own") {
  const auto event = order_placed("o-1");
  const Shop sqlite{Engine::sqlite};
  Shop postgres{Engine::postgres};
  SQLite::Database database{sqlite.path(), SQLite::OPEN_READWRITE};
  CHECK_THAT(error_of<DatabaseError>([&] { add_to_outbox(database, event); }),
             ContainsSubstring("no transaction is open; begin one"));
  const std::shared_ptr<PGconn> connection{PQconnectdb(postgres.url().c_str()), PQfinish};
  CHECK_THAT(error_of<DatabaseError>([&] { add_to_outbox(connection.get(), event); }),
             ContainsSubstring("no transaction is open; begin one"));
  CHECK(sqlite.count("1 = 1") == 0);
  CHECK(postgres.count("1 = 1") == 0);
}

TEST_CASE(
    "an event that a database does not take is an error, and the service's transaction is still its own") {
  const auto event = order_placed("o-1");
  for (const auto& [name, engine, connect] : adapters) {
    INFO(name);
    Shop outbox{engine};
    connect(outbox)("o-1", &event, End::commit);
    CHECK_THROWS(connect(outbox)("o-2", &event, End::commit));  // the same id once more
    CHECK(outbox.column("SELECT id FROM shop_order") == Texts{"o-1"});
    auto broken = order_placed("o-3");
    broken.aggregate_type += '\0';
    CHECK_THAT(error_of<Error>([&] { connect(outbox)("o-3", &broken, End::commit); }),
               ContainsSubstring("cannot write the event event-o-3: a text in it has a NUL"));
    CHECK(pending(outbox) == Texts{"event-o-1"});
  }
}

TEST_CASE("what a database says of an event tells whether another try may help") {
  const auto event = order_placed("o-1");
  const Shop outbox{Engine::sqlite};
  SQLite::Database database{outbox.path(), SQLite::OPEN_READWRITE},
      other{outbox.path(), SQLite::OPEN_READWRITE};
  const SQLite::Transaction locking{other, SQLite::TransactionBehavior::IMMEDIATE};
  database.exec("BEGIN");
  try {
    add_to_outbox(database, event);
    FAIL("two hold the write lock");
  } catch (const DatabaseError& error) {
    CHECK(error.retryable());
    CHECK_THAT(error.what(), ContainsSubstring("cannot write an event to the outbox: database is locked"));
  }
  Shop postgres{Engine::postgres};
  const std::shared_ptr<PGconn> connection{PQconnectdb(postgres.url().c_str()), PQfinish};
  PQclear(PQexec(connection.get(), "BEGIN"));
  postgres.server().kill();
  try {
    add_to_outbox(connection.get(), event);
    FAIL("the server is gone");
  } catch (const DatabaseError& error) {
    CHECK(error.retryable());
    CHECK_THAT(error.what(), ContainsSubstring("cannot write an event to the outbox: "));
  }
}

TEST_CASE("a commit over a service's own connection wakes the relay, and one that has no event does not") {
  for (const auto& [name, engine, connect] : adapters) {
    if (engine == Engine::sqlite) continue;  // any commit to the file is seen
    INFO(name);
    Shop outbox{engine};
    const auto place = connect(outbox);
    const auto watch = CommitWatch::open(outbox.url());
    CHECK(watch->wait(5s));
    CHECK_FALSE(watch->wait(100ms));
    place("o-1", nullptr, End::commit);
    CHECK_FALSE(watch->wait(100ms));
    const auto event = order_placed("o-2");
    const auto begun = std::chrono::steady_clock::now();
    place("o-2", &event, End::commit);
    CHECK(watch->wait(20s));
    CHECK(std::chrono::steady_clock::now() - begun < 10s);
  }
}
