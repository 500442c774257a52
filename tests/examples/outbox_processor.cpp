#include <tidings/outbox_processor.hpp>

void publish_all(const std::string& database_url, tidings::Connection& connection) {
  auto options = tidings::OutboxProcessorOptions::from_environment();
  options.drain = true;
  tidings::OutboxProcessor{database_url, connection, options}.run(std::stop_token{});
}
