#include <tidings/consumer.hpp>
#include <tidings/outbox_processor.hpp>
#include <tidings/sqlite_inbox.hpp>
#include <tidings/stop_signals.hpp>

#include <thread>

void publish_all(const std::string& database_url, tidings::Connection& connection) {
  auto options = tidings::OutboxProcessorOptions::from_environment();
  options.drain = true;
  tidings::OutboxProcessor{database_url, connection, options}.run(std::stop_token{});
}

/// A service that publishes and consumes over one connection, as docs/publishing.md has it.
void serve(const std::string& database_url, tidings::SqliteInbox& inbox,
           const tidings::ConsumerOptions& consumer_options) {
  tidings::StopSignals signals;
  tidings::Connection connection{tidings::ConnectionOptions::from_environment(), signals.token()};

  auto options = tidings::OutboxProcessorOptions::from_environment();
  options.publisher = {.subject_prefix = "shop.events", .stream = "SHOP_EVENTS", .source = "/shop"};
  tidings::OutboxProcessor processor{database_url, connection, options};
  std::jthread publishing{[&](const std::stop_token& stop) { processor.run(stop); }};

  tidings::Consumer consumer{inbox, connection, consumer_options};
  consumer.run(signals.token());  // the processor is asked to stop behind it
}
