#pragma once

// How an inbox keeps what tells an event from all others: its source and its id together, as CloudEvents
// says. A UUID is enough alone. Any other id's row says whose it is; when the rows of two sources would be
// the same, the second one gets a key that has its source in it. The first versions of the tables knew ids
// only, and their binaries may run beside ours: they find most of our rows, and we take theirs to be of any
// source.

#include <tidings/event.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tidings {

/// Refers to texts that must outlive it.
struct EventIdentity {
  std::string_view id;
  std::string_view source{};
};

[[nodiscard]] inline EventIdentity identity_of(const Event& event) { return {event.id, event.source}; }

/// The keys that an event's row may have.
struct EventKey {
  explicit EventKey(const EventIdentity& event);

  std::string id;                     ///< its text, or a UUID's 16 bytes
  std::optional<std::string> source;  ///< none for a UUID
  /// At least 17 bytes; none for a UUID.
  std::optional<std::string> source_and_id;

  [[nodiscard]] bool is_uuid() const noexcept { return !source; }
  /// What no other event shares.
  [[nodiscard]] const std::string& unique() const noexcept { return source_and_id ? *source_and_id : id; }
};

/// PostgreSQL's bytea as text.
[[nodiscard]] std::string bytea(std::string_view bytes);
[[nodiscard]] std::optional<std::string> bytea_or_null(const std::optional<std::string>& bytes);
/// A UUID's 16 bytes, or the id's text behind a zero byte (and before another one when those were 16 bytes).
[[nodiscard]] std::string bytea_id(const EventKey& key);

/// An array of bytea texts and NULLs, in their order.
[[nodiscard]] std::string bytea_array(const std::vector<std::optional<std::string>>& texts);

}  // namespace tidings
