#include <tidings/outbox_repository.hpp>

void register_user(tidings::Database& database, tidings::OutboxRepository& outbox,
                   const tidings::DomainEvent& created) {
  database.transact([&](tidings::Transaction& transaction) {
    database.exec("INSERT INTO account(id) VALUES ($1)", created.aggregate_id);
    outbox.add(transaction, created);  // both, or neither
  });
}
