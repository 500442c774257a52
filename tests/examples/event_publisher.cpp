#include <tidings/event_publisher.hpp>

/// Whether the stream has the event now. A processor has many in flight at once.
bool publish_one(tidings::Connection& connection, const tidings::OutboxEvent& event) {
  tidings::EventPublisher publisher{connection, {}, [] {}};
  publisher.publish(1, event);
  std::vector<tidings::PublishResult> results;
  while (results.empty()) publisher.collect(results);
  return results.front().kind == tidings::PublishResult::Kind::stored;
}
