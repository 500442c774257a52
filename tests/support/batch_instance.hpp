#pragma once

// Verbs for tests of the BatchExecutor without NATS: an inbox in SQLite, and what its handler did.

#include "consumer/batch_executor.hpp"
#include "support/catch.hpp"
#include "support/sqlite.hpp"
#include "support/wait.hpp"

#include <tidings/sqlite_inbox.hpp>

#include <SQLiteCpp/SQLiteCpp.h>

#include <filesystem>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace tidings::test {

/// An instance of a consumer: an inbox file, what its handler does, and the code under test.
class BatchInstance {
 public:
  using Handler = std::function<void(const Delivery&, SQLite::Database&)>;

  explicit BatchInstance(const std::filesystem::path& file, Handler handler = {},
                         std::function<void(ConsumerOptions&)> change = {}, const RetryPolicy& retry = {})
      : sqlite_inbox(file.string()) {
    options.group = "mailer";
    options.max_attempts = 3;
    options.backoff = {.base = 100ms, .max = 10s};
    options.max_batch_time = 60s;
    if (change) change(options);
    inbox.join("mailer");
    sqlite_inbox.database().exec("CREATE TABLE IF NOT EXISTS effect(id TEXT)");
    const auto handle = [this, handler = std::move(handler)](const Delivery& delivery) {
      started.push_back(delivery.event.id);
      attempts.push_back(delivery.attempt);
      SQLite::Statement insert{sqlite_inbox.transaction(), "INSERT INTO effect VALUES (?)"};
      insert.bind(1, delivery.event.id);
      insert.exec();
      if (handler) handler(delivery, sqlite_inbox.transaction());
    };
    handlers.add("user.created", {handle, retry});
  }

  std::vector<Settlement> run_batch(const std::vector<std::string>& ids) {
    auto all = deliveries(ids);
    return run_batch(all);
  }
  std::vector<Settlement> run_batch(std::vector<Delivery>& batch) {
    std::vector<Delivery*> pointers;
    for (auto& delivery : batch) pointers.push_back(&delivery);
    return executor.run_batch(pointers);
  }
  /// As a session does: until each is settled, trying again when the inbox seems to be unavailable.
  std::vector<Settlement> run_through(const std::vector<std::string>& ids) {
    auto all = deliveries(ids);
    std::vector<Delivery*> rest;
    for (auto& delivery : all) rest.push_back(&delivery);
    std::vector<Settlement> settlements;
    for (int round = 0; round < 20 && settlements.size() < ids.size(); ++round) try {
        const auto some = executor.run_batch(std::span{rest}.subspan(settlements.size()));
        settlements.insert(settlements.end(), some.begin(), some.end());
      } catch (const InboxUnavailable&) {
        continue;
      }
    REQUIRE(settlements.size() == ids.size());
    return settlements;
  }
  Settlement run_isolated(const std::string& id) {
    auto redelivered = deliveries({id});
    redelivered.front().delivered = 2;
    return executor.run_isolated(redelivered.front());
  }
  static std::vector<Delivery> deliveries(const std::vector<std::string>& ids,
                                          const std::string& type = "user.created") {
    std::vector<Delivery> made;
    for (const auto& id : ids) {
      Delivery delivery;
      delivery.attempt = 0;
      delivery.event.id = id;
      delivery.event.type = type;
      delivery.event.data = "{}";
      made.push_back(delivery);
    }
    return made;
  }

  SqliteInbox sqlite_inbox;
  Inbox& inbox{sqlite_inbox.tables()};
  ConsumerOptions options;
  Handlers handlers;
  KeyOrder key_order{options};
  BatchExecutor executor{inbox, handlers, options, key_order};
  std::vector<std::string> started;  ///< ids, in the order in which the handler was called
  std::vector<int> attempts;         ///< which attempt each call was told to be
};

inline std::vector<std::string> effects(const std::filesystem::path& file) {
  return sqlite::column(file, "SELECT id FROM effect ORDER BY rowid");
}

inline std::vector<Settlement::Kind> kinds(const std::vector<Settlement>& settlements) {
  std::vector<Settlement::Kind> all;
  for (const auto& settlement : settlements) all.push_back(settlement.kind);
  return all;
}

/// Handlers for one id; the others succeed.
inline BatchInstance::Handler on_id(const std::string& id, std::function<void()> action) {
  return [id, action = std::move(action)](const Delivery& delivery, SQLite::Database&) {
    if (delivery.event.id == id) action();
  };
}

[[noreturn]] inline void fail() { throw std::runtime_error("mail server down"); }
[[noreturn]] inline void reject() { throw Reject("no such address"); }

}  // namespace tidings::test
