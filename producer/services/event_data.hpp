#pragma once

// From a row of the outbox to the event that goes on the wire.

#include "infrastructure/outbox_event.hpp"

#include <tidings/event.hpp>

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

/// Throws Undecodable with what is wrong with the row.
[[nodiscard]] Event to_event(const OutboxEvent& row);

/// `prefix.eventType`. Throws Undecodable when that is no subject one can publish to.
[[nodiscard]] std::string subject_of(const OutboxEvent& row, std::string_view prefix);

}  // namespace tidings
