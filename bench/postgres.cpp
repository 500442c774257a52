// What the consumer reaches with its inbox in PostgreSQL, fsync on. See scripts/bench.

#include "figures.hpp"
#include "mailer.hpp"
#include "sample_events.hpp"
#include "support/nats_server.hpp"
#include "support/postgres_server.hpp"

#include <tidings/postgres_inbox.hpp>
#include <tidings/stream.hpp>

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>

#include <iostream>
#include <thread>

using namespace tidings;
using namespace tidings::bench;
using namespace std::chrono_literals;
using tidings::test::NatsServer;
using tidings::test::PostgresServer;

namespace {

/// Typed handler, one business row, inbox row; events a second.
double consume(const std::string& url, const PostgresServer& postgres, int events) {
  forget_group(url);
  PostgresInbox inbox{postgres.url()};
  inbox.database().script("DROP TABLE IF EXISTS welcome_email, inbox, inbox_attempt, inbox_group CASCADE");
  PostgresInbox fresh{postgres.url()};
  fresh.database().exec("CREATE TABLE welcome_email(user_id text, address text)");
  Consumer consumer{fresh, options_for(url)};
  consumer.on<UserCreated>("user.created",
                           [](const UserCreated& user, PostgresDatabase& tx, const Delivery&) {
                             tx.exec("INSERT INTO welcome_email VALUES ($1, $2)", user.userId, user.email);
                           });
  return events / seconds([&] {
           std::jthread work{[&](const std::stop_token& stop) { consumer.run(stop); }};
           while (consumer.stats().handled < static_cast<std::uint64_t>(events))
             std::this_thread::sleep_for(1ms);
         });
}

}  // namespace

int main(int argc, char** argv) {
  Figures figures{"postgres"};
  bool quick = false;
  CLI::App app{"Measures the consumer on PostgreSQL.", "bench-postgres"};
  app.add_flag("--quick", quick, "a tenth of the events");
  figures.add_flags(app);
  CLI11_PARSE(app, argc, argv);
  const int events = quick ? 10000 : 100000;

  spdlog::set_level(spdlog::level::err);
  try {
    NatsServer server;
    const PostgresServer postgres;
    {
      Connection connection{ConnectionOptions{.urls = {server.url()}}};
      ensure_stream(connection, {});
    }
    const auto messages = sample_messages(events);
    (void)publish_raw(server.url(), messages);
    figures.in_turn({{"pg_consume_per_s", "handler, business row, inbox row in PostgreSQL, events/s",
                      [&] { return consume(server.url(), postgres, events); }}},
                    3);
    figures.print();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "bench-postgres: " << error.what() << '\n';
    return 1;
  }
}
