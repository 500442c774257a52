// A service with an outbox of its own: an order and its event are one commit.

#include <tidings/database.hpp>
#include <tidings/domain_event.hpp>
#include <tidings/outbox_processor.hpp>
#include <tidings/outbox_repository.hpp>

#include <iostream>
#include <string>

struct OrderPlaced : tidings::DomainEvent {
  OrderPlaced(const std::string& order, int cents) {
    aggregate_id = order;
    aggregate_type = "Order";
    event_type = "order.placed";
    data = {{"orderId", order}, {"cents", cents}};
    metadata = {{"source", "shop"}};
  }
};

constexpr auto own_tables = R"sql(
    CREATE TABLE IF NOT EXISTS shop_order (id TEXT NOT NULL PRIMARY KEY, cents INTEGER NOT NULL);
)sql";

/// Places an order in the database that DATABASE_URL's syntax names, and says what waits to be published.
int main(int argc, char** argv) {
  if (argc < 2) return 2;
  try {
    const auto database = tidings::Database::open(argv[1], tidings::Database::Open::create);
    database->migrate(own_tables);
    const auto outbox = database->outbox();
    database->transact([&](tidings::Transaction& transaction) {
      const auto order = tidings::new_uuid();
      database->exec(R"sql(INSERT INTO shop_order (id, cents) VALUES ($1, $2))sql", order, 1999);
      outbox->add(transaction, OrderPlaced{order, 1999});
    });
    std::cout << outbox->count_pending() << " pending\n";
    if (argc < 3) return 0;

    // Publishing can be left to `tidings relay`, or done here: with a NATS URL, until nothing is left.
    tidings::Connection connection{tidings::ConnectionOptions{.urls = {argv[2]}}};
    tidings::OutboxProcessorOptions options;
    options.drain = true;
    options.publisher = {.subject_prefix = "shop.events", .stream = "SHOP_EVENTS"};
    tidings::OutboxProcessor processor{argv[1], connection, options};
    processor.run(std::stop_token{});
    std::cout << processor.status().published << " published\n";
    return 0;
  } catch (const tidings::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
