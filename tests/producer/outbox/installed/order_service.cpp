// A service on SQLiteCpp, with a transaction of its own: an order and its event are one commit.
//
//   order-service FILE ORDER=CENTS…

#include <tidings/outbox_adapters.hpp>

#include <SQLiteCpp/SQLiteCpp.h>

#include <iostream>
#include <string>

struct Order {
  std::string id;
  int cents;
};

struct OrderPlaced : tidings::DomainEvent {
  explicit OrderPlaced(const Order& order) {
    aggregate_id = order.id;
    aggregate_type = "Order";
    event_type = "order.placed";
    data = {{"orderId", order.id}, {"cents", order.cents}};
  }
};

/// Refuses an order late, when all is written, to show that nothing of it stays.
void place(SQLite::Database& database, const Order& order) {
  SQLite::Transaction transaction{database};
  SQLite::Statement insert{database, "INSERT INTO shop_order(id, cents) VALUES (?, ?)"};
  insert.bind(1, order.id);
  insert.bind(2, order.cents);
  insert.exec();
  tidings::add_to_outbox(database, OrderPlaced{order});
  if (order.cents <= 0) throw tidings::Error("order " + order.id + " is for nothing");
  transaction.commit();
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  try {
    SQLite::Database database{argv[1], SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 5000};
    database.exec("CREATE TABLE IF NOT EXISTS shop_order(id TEXT PRIMARY KEY, cents INTEGER NOT NULL)");
    for (int i = 2; i < argc; ++i) {
      const std::string order = argv[i];
      const auto equals = order.find('=');
      try {
        place(database, {order.substr(0, equals), std::stoi(order.substr(equals + 1))});
      } catch (const tidings::Error& error) {
        std::cerr << error.what() << '\n';
      }
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
