#include "support/test_inbox.hpp"

#include "support/engine.hpp"
#include "support/sqlite.hpp"

#include <tidings/postgres_inbox.hpp>
#include <tidings/sqlite_inbox.hpp>

#include <SQLiteCpp/SQLiteCpp.h>

namespace tidings::test {
namespace {

PostgresRows query(const PostgresServer& server, const std::string& statement) {
  PostgresConnection database{server.url()};
  database.connect();
  return database.exec(statement);
}

std::vector<std::string> column(const PostgresServer& server, const std::string& statement) {
  const auto rows = query(server, statement);
  std::vector<std::string> values;
  for (int row = 0; row < rows.size(); ++row) values.emplace_back(rows.text(row, 0));
  return values;
}

}  // namespace

void Tx::write_effect(const std::string& id) {
  if (auto* const postgres = inbox_.postgres()) {
    postgres->transaction().queue("INSERT INTO effect(id) VALUES ($1)", id);
    return;
  }
  SQLite::Statement insert{inbox_.sqlite()->transaction(), "INSERT INTO effect VALUES (?)"};
  insert.bind(1, id);
  insert.exec();
}

TestInbox::TestInbox(const std::string& location, const InboxOptions& options) {
  if (engine_under_test() == Engine::postgres)
    postgres_ = std::make_unique<PostgresInbox>(location, options);
  else
    sqlite_ = std::make_unique<SqliteInbox>(location, options);
}

TestInbox::~TestInbox() = default;

Inbox& TestInbox::tables() noexcept { return postgres_ ? postgres_->tables() : sqlite_->tables(); }

void TestInbox::make_effects() {
  if (postgres_)
    exec("CREATE TABLE IF NOT EXISTS effect(place serial, id text)");
  else
    exec("CREATE TABLE IF NOT EXISTS effect(id TEXT)");
}

void TestInbox::exec(const std::string& statements) {
  if (postgres_)
    postgres_->database().script(statements);
  else
    sqlite_->database().exec(statements);
}

InboxPlace::InboxPlace(const TempDir& folder) : folder_(folder) {
  if (engine_under_test() == Engine::postgres) server_.emplace();
}

std::string InboxPlace::location(const std::string& name) const {
  if (!server_) return (folder_ / (name + ".db")).string();
  query(*server_, "CREATE SCHEMA IF NOT EXISTS " + name);
  return server_->url() + "?schema=" + name;
}

std::vector<std::string> InboxPlace::effects() const {
  if (server_) return column(*server_, "SELECT id FROM inbox.effect ORDER BY place");
  return sqlite::column(location("inbox"), "SELECT id FROM effect ORDER BY rowid");
}

std::vector<std::string> InboxPlace::rows() const {
  if (!server_) return sqlite::column(location("inbox"), "SELECT event_id FROM inbox ORDER BY event_id");
  return column(*server_, R"sql(
    SELECT convert_from(btrim(event_id, '\x00'), 'UTF8') AS id FROM inbox.inbox ORDER BY id)sql");
}

std::int64_t InboxPlace::count(const std::string& table, const std::string& inbox) const {
  if (server_) return query(*server_, "SELECT count(*) FROM " + inbox + "." + table).integer(0, 0);
  return sqlite::number(location(inbox), "SELECT count(*) FROM " + table);
}

void InboxPlace::let_all_be_handled_long_ago() const {
  if (server_)
    query(*server_, "UPDATE inbox.inbox SET handled_at = '2001-01-01'");
  else
    sqlite::execute(location("inbox"), "UPDATE inbox SET handled_at = 1000");
}

bool InboxPlace::no_sessions() const {
  if (!server_) return true;
  const auto others = query(*server_, R"sql(
    SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())sql");
  return others.integer(0, 0) == 0;
}

}  // namespace tidings::test
