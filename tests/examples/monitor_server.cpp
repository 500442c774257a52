#include <tidings/consumer.hpp>
#include <tidings/monitor_server.hpp>
#include <tidings/sqlite_inbox.hpp>

void run_watched(tidings::Consumer<tidings::SqliteInbox>& consumer) {
  tidings::MonitorServer http{tidings::HttpOptions::from_environment("127.0.0.1:9464")};
  http.watch(consumer);
  http.start();
  consumer.run();
}
