#include <tidings/outbox_pqxx.hpp>

void place(pqxx::connection& connection, const std::string& order, const tidings::DomainEvent& placed) {
  pqxx::work transaction{connection};
  transaction.exec("INSERT INTO shop_order(id) VALUES (" + transaction.quote(order) + ")");
  tidings::add_to_outbox(transaction, placed);
  transaction.commit();  // both, or neither
}
