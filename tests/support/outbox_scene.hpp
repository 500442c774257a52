#pragma once

// An outbox with a repository on it: what their tests say in one word. Included by
// tests of the library's insides.

#include "infrastructure/outcome.hpp"
#include "support/catch.hpp"
#include "support/outbox.hpp"

#include <tidings/outbox_repository.hpp>

#include <string>
#include <vector>

namespace tidings::test {

inline constexpr Timestamp some_time{std::chrono::milliseconds{1769847330123}};
inline constexpr const char* some_time_text = "2026-01-31T08:15:30.123Z";

using Ids = std::vector<std::string>;

struct Scene {
  explicit Scene(Engine its_engine) : engine(its_engine) { UNSCOPED_INFO("in " << to_string(its_engine)); }

  void add(const std::string& id, const std::string& aggregate = "a", const std::string& type = "User") {
    DomainEvent event;
    event.id = id;
    event.aggregate_id = aggregate;
    event.aggregate_type = type;
    event.event_type = "user.created";
    outbox.database().transact([&](Transaction& transaction) { repository.add(transaction, event); });
  }

  /// With `id` as aggregate, and the columns of `set` changed.
  void add_changed(const std::string& id, const std::string& set) {
    add(id, id);
    outbox.execute("UPDATE outbox_event SET " + set + " WHERE id = '" + id + "'");
  }

  int write(const std::vector<Outcome>& outcomes, bool delete_published = false) {
    int published = 0;
    outbox.database().transact([&](Transaction& transaction) {
      published = write_outcomes(transaction, outcomes, delete_published);
    });
    return published;
  }

  OutboxRepository::Cleanup clean_up(Timestamp before, int limit) {
    OutboxRepository::Cleanup done;
    outbox.database().transact(
        [&](Transaction& transaction) { done = repository.cleanup(transaction, before, limit); });
    return done;
  }

  /// From the oldest on.
  Ids pending(int limit = 1000) {
    repository.rewind();
    return next_pending(limit);
  }
  Ids next_pending(int limit = 1000) {
    std::vector<OutboxEvent> events;
    repository.read_pending(limit, events);
    return ids(events);
  }

  static Ids ids(const std::vector<OutboxEvent>& events) {
    Ids all;
    for (const auto& event : events) all.push_back(event.id);
    return all;
  }

  OutboxPosition position(const std::string& id) { return repository.find(id).value().event.position; }

  Outcome outcome(const std::string& id, RowStatus status) {
    return {.position = position(id),
            .id = id,
            .status = status,
            .retry_count = 3,
            .error = "no",
            .at = some_time};
  }

  /// A column of one row as text, times as ISO 8601; "NULL" when it has nothing.
  std::string value(const std::string& id, const std::string& name) {
    const auto text = outbox.value(id, name);
    const auto time = name.ends_with("At") ? parse_timestamp(text) : std::nullopt;
    return time ? to_iso8601(*time) : text;
  }

  Ids all() { return outbox.column("SELECT id FROM outbox_event ORDER BY id"); }

  const Engine engine;
  Outbox outbox{engine};
  OutboxRepository& repository = outbox.repository();
};

}  // namespace tidings::test
