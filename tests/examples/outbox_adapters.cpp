#include <tidings/outbox_adapters.hpp>

#include <SQLiteCpp/SQLiteCpp.h>

void place(SQLite::Database& database, const std::string& order, const tidings::DomainEvent& placed) {
  SQLite::Transaction transaction{database};
  SQLite::Statement insert{database, "INSERT INTO shop_order(id) VALUES (?)"};
  insert.bind(1, order);
  insert.exec();
  tidings::add_to_outbox(database, placed);
  transaction.commit();  // both, or neither
}
