#pragma once

// An outbox in a file of its own, and what tests ask of it.

#include "domain/domain_event.hpp"
#include "infrastructure/outbox_repository.hpp"
#include "support/jetstream.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace tidings::test {

class Outbox {
 public:
  explicit Outbox(const std::filesystem::path& parent = std::filesystem::temp_directory_path())
      : folder_(parent), database_(path(), Database::Open::create) {
    database_.migrate();
  }

  [[nodiscard]] std::string path() const { return (folder_ / "auth.db").string(); }
  [[nodiscard]] std::string url() const { return "sqlite:" + path(); }

  /// Commits one event, and returns its id.
  std::string add(const std::string& aggregate, const std::string& data = "{}",
                  const std::string& type = "user.created") {
    DomainEvent event;
    event.aggregate_id = aggregate;
    event.aggregate_type = "User";
    event.event_type = type;
    event.data = nlohmann::ordered_json::parse(data);
    database_.transact([&](Transaction& transaction) { repository().add(transaction, event); });
    return event.id;
  }

  /// `count` events of aggregates "<prefix>0" … in turn, in one commit.
  void add_many(int count, int aggregates, const std::string& prefix = "user-") {
    database_.transact([&](Transaction& transaction) {
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

  void execute(const std::string& statements) { sqlite::execute(path(), statements); }
  [[nodiscard]] std::int64_t count(const std::string& where) const {
    return sqlite::number(path(), "SELECT count(*) FROM outbox_event WHERE " + where);
  }
  [[nodiscard]] std::int64_t count_status(const std::string& status) const {
    return count("status = '" + status + "'");
  }
  [[nodiscard]] std::string value(const std::string& id, const std::string& column) const {
    return sqlite::text(
        path(), "SELECT ifnull(\"" + column + "\", 'NULL') FROM outbox_event WHERE id = '" + id + "'");
  }

  [[nodiscard]] Database& database() noexcept { return database_; }
  [[nodiscard]] OutboxRepository& repository() {
    if (!repository_) repository_.emplace(database_);
    return *repository_;
  }

 private:
  TempDir folder_;
  Database database_;
  std::optional<OutboxRepository> repository_;
};

/// What is wrong when the stream is held against the table: lost events, and per aggregate those that
/// stand in the stream behind one that was committed after them. Empty when all is well.
[[nodiscard]] std::string ledger(const Outbox& outbox, const std::vector<StoredMessage>& stream);

}  // namespace tidings::test
