#pragma once

// A service that writes to the outbox on a connection of its own, whose steps a test takes one by one.

#include "support/outbox.hpp"

#include <tidings/outbox_repository.hpp>

#include <memory>
#include <optional>
#include <string>

namespace tidings::test {

class Service {
 public:
  explicit Service(const Outbox& outbox)
      : database_(Database::open(outbox.url())), events_(database_->outbox()) {}

  void begin() { transaction_.emplace(*database_); }
  void add(const std::string& id, const std::string& aggregate = "a") {
    DomainEvent event;
    event.id = id;
    event.aggregate_id = aggregate;
    event.aggregate_type = "User";
    event.event_type = "user.created";
    events_->add(*transaction_, event);
    run("SELECT 1");  // the insert goes with it
  }
  SqlRows run(const std::string& statement) { return database_->exec(statement); }
  void commit() {
    transaction_->commit();
    transaction_.reset();
  }
  void roll_back() { transaction_.reset(); }

 private:
  std::unique_ptr<Database> database_;
  std::unique_ptr<OutboxRepository> events_;
  std::optional<Transaction> transaction_;
};

}  // namespace tidings::test
