#include "support/outbox.hpp"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

namespace tidings::test {
namespace {

/// PostgreSQL takes names for lower case unless they are quoted: quotes those that have a capital inside.
std::string quoted(const std::string& sql) {
  std::string text;
  for (std::size_t at = 0; at < sql.size();) {
    const auto letter = static_cast<unsigned char>(sql[at]);
    if (letter == '\'' || letter == '"') {
      const auto end = sql.find(sql[at], at + 1);
      text += sql.substr(at, end - at + 1);
      at = end + 1;
    } else if (std::isalpha(letter) != 0 || letter == '_') {
      auto end = at;
      bool capital = false, small = false;
      for (; end < sql.size() && (std::isalnum(static_cast<unsigned char>(sql[end])) != 0 || sql[end] == '_');
           ++end) {
        capital = capital || std::isupper(static_cast<unsigned char>(sql[end])) != 0;
        small = small || std::islower(static_cast<unsigned char>(sql[end])) != 0;
      }
      const auto name = sql.substr(at, end - at);
      text += capital && small ? '"' + name + '"' : name;
      at = end;
    } else {
      text += sql[at++];
    }
  }
  return text;
}

}  // namespace

Outbox::Outbox(const std::filesystem::path& parent)
    : folder_(parent), database_(Database::open(url(), Database::Open::create)) {
  database_->migrate();
}

Outbox::Outbox(Engine engine)
    : postgres_(engine == Engine::postgres ? std::make_unique<PostgresServer>() : nullptr),
      database_(Database::open(url(), Database::Open::create)) {
  database_->migrate();
}

std::string Outbox::url() const { return postgres_ ? postgres_->url() : "sqlite:" + path(); }

OutboxRepository& Outbox::repository() {
  if (!repository_) repository_ = database_->outbox();
  return *repository_;
}

std::string Outbox::add(const std::string& aggregate, const std::string& data, const std::string& type) {
  DomainEvent event;
  event.aggregate_id = aggregate;
  event.aggregate_type = "User";
  event.event_type = type;
  event.data = nlohmann::ordered_json::parse(data);
  database_->transact([&](Transaction& transaction) { repository().add(transaction, event); });
  return event.id;
}

void Outbox::add_many(int count, int aggregates, const std::string& prefix) {
  database_->transact([&](Transaction& transaction) {
    std::set<std::string> names;
    for (int i = 0; i < std::min(count, aggregates); ++i) names.insert(prefix + std::to_string(i));
    if (aggregates < 100)  // else nobody writes beside it
      for (const auto& name : names) lock_aggregate(transaction, name);
    for (int i = 0; i < count; ++i) {
      DomainEvent event;
      event.aggregate_id = prefix + std::to_string(i % aggregates);
      event.aggregate_type = "User";
      event.event_type = "user.created";
      event.data = {{"n", i}};
      repository().add(transaction, event);
    }
  });
}

void Outbox::execute(const std::string& statements) const {
  if (!postgres_) return sqlite::execute(path(), statements);
  PostgresConnection connection{url()};
  connection.connect();
  connection.script(quoted(statements));
}

PostgresRows Outbox::ask(const std::string& query) const {
  PostgresConnection connection{url()};
  connection.connect();
  return connection.exec(quoted(query));
}

std::vector<std::string> Outbox::column(const std::string& query) const {
  if (!postgres_) return sqlite::column(path(), query);
  std::vector<std::string> all;
  const auto rows = ask(query);
  for (int row = 0; row < rows.size(); ++row) all.emplace_back(rows.text(row, 0));
  return all;
}

std::string Outbox::text(const std::string& query) const { return column(query).at(0); }

std::int64_t Outbox::number(const std::string& query) const { return std::stoll(text(query)); }

void lock_aggregate(Transaction& transaction, const std::string& aggregate) {
  auto& database = transaction.database();
  if (database.kind() == Database::Kind::postgresql)
    database.exec("SELECT pg_advisory_xact_lock(hashtext($1))", aggregate);
}

std::vector<std::string> Outbox::in_order() const {
  return column(std::string("SELECT id FROM outbox_event ORDER BY ") +
                (postgres_ ? "createdAt, id COLLATE \"C\"" : "rowid"));
}

std::string insert(const std::string& id, const std::string& created_at) {
  return "INSERT INTO outbox_event(id, aggregateId, aggregateType, eventType, eventData, occurredAt, "
         "createdAt, "
         "updatedAt) VALUES ('" +
         id + "', 'a', 'User', 'user.created', '{}', now(), " + created_at + ", now())";
}

std::string ledger(const Outbox& outbox, const std::vector<StoredMessage>& stream) {
  std::map<std::string, std::int64_t> committed;  // id → place in the table
  std::set<std::string> owed;
  const auto ids = outbox.in_order();
  for (std::size_t i = 0; i < ids.size(); ++i) committed[ids[i]] = static_cast<std::int64_t>(i);
  for (const auto& id : outbox.column("SELECT id FROM outbox_event WHERE status = 'PUBLISHED'"))
    owed.insert(id);

  std::string wrong;
  std::set<std::string> seen;
  std::map<std::string, std::int64_t> last;  // aggregate → place of its latest event in the stream
  for (const auto& message : stream) {
    const auto id = message.header("ce-id");
    if (!seen.insert(id).second) {
      wrong += "stored twice: " + id + "\n";
      continue;
    }
    auto [previous, first] = last.try_emplace(message.header("ce-subject"), -1);
    if (committed.at(id) < previous->second)
      wrong +=
          "inverted: " + id + " of " + previous->first + " at sequence " + std::to_string(message.seq) + "\n";
    previous->second = std::max(previous->second, committed.at(id));
    owed.erase(id);
  }
  for (const auto& id : owed) wrong += "marked PUBLISHED and not in the stream: " + id + "\n";
  return wrong;
}

}  // namespace tidings::test
