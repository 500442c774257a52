#pragma once

// From a row of the outbox to the event that goes on the wire.

#include <tidings/event.hpp>
#include <tidings/outbox_event.hpp>

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

/// Makes events of rows. A service's events mostly share their metadata, so what the last one said is
/// kept, as is the memory of the event.
class EventBuilder {
 public:
  /// The same object each time. Throws Undecodable with what is wrong with the row.
  const Event& build(const OutboxEvent& row);

 private:
  void read_metadata(std::string_view text);

  Event event_;
  std::string metadata_;  // text from which the event's source, trace context and metadata were read
  bool metadata_known_ = false;
};

/// `prefix.eventType`. Throws Undecodable when that is no subject one can publish to.
[[nodiscard]] std::string subject_of(const OutboxEvent& row, std::string_view prefix);

}  // namespace tidings
