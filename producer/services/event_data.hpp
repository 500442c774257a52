#pragma once

// From a row of the outbox to the event that goes on the wire.

#include "infrastructure/outbox_event.hpp"

#include <tidings/event.hpp>

#include <string>
#include <string_view>

namespace tidings {

/// The two parts of the column `eventData`, as slices of its text: data goes out byte for byte.
struct EventData {
  std::string_view data;
  std::string_view metadata;  ///< empty when there is none

  /// An object with a member `data` is split; one without is all data (foreign writers).
  /// Throws Undecodable when the text is no JSON object.
  [[nodiscard]] static EventData split(std::string_view text);
};

/// What metadata says to the wire. A service's events mostly share theirs, so the last one is kept.
class EventMetadata {
 public:
  /// Throws Undecodable when `text` is no JSON object; empty and null are none.
  void read(std::string_view text);
  void apply(Event& event) const;

 private:
  std::string text_;
  std::string source_, traceparent_, tracestate_;
  std::string header_;
  bool known_ = false;
};

/// Throws Undecodable with what is wrong with the row. `metadata` is what the last call left in it.
[[nodiscard]] Event to_event(const OutboxEvent& row, EventMetadata& metadata);

/// `prefix.eventType`. Throws Undecodable when that is no subject one can publish to.
[[nodiscard]] std::string subject_of(const OutboxEvent& row, std::string_view prefix);

}  // namespace tidings
