#include <tidings/consumer.hpp>
#include <tidings/monitor_report.hpp>
#include <tidings/sqlite_inbox.hpp>

bool may_take_traffic(const tidings::Consumer<tidings::SqliteInbox>& consumer) {
  return consumer.report({.stalled_after = std::chrono::seconds{10}}).not_ready.empty();
}
