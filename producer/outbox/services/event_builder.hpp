#pragma once

// Turns a row of the outbox into the event that goes on the wire.

#include <tidings/event.hpp>
#include <tidings/outbox_event.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace tidings {

/// The two parts of the column `eventData`, as slices of its text: data goes out byte for byte.
struct EventData {
  std::string_view data;
  std::string_view metadata;  ///< empty when there is none

  /// An object without a member `data` is all data (other programs write such). Throws Undecodable when the
  /// text is not a JSON object.
  [[nodiscard]] static EventData split(std::string_view text);
};

/// Turns rows into events. Most events of a service have the same metadata, so what was read from it is kept,
/// as is the memory of the event.
class EventBuilder {
 public:
  using ReadData = std::function<const OutboxEvent&(const OutboxEvent&)>;

  /// `source` is that of events whose metadata names none; `read_data` gives those whose data is not read.
  explicit EventBuilder(std::string source, ReadData read_data = {})
      : source_(std::move(source)), read_data_(std::move(read_data)) {}

  /// Returns the same object each time. Throws Undecodable, saying what is wrong with the row.
  const Event& build(const OutboxEvent& row);

 private:
  const Event& build_whole(const OutboxEvent& row);
  void read_metadata(std::string_view text);
  void tell_without_time(const OutboxEvent& row);

  const std::string source_;
  const ReadData read_data_;
  Event event_;
  std::string metadata_;  // text from which the event's source, trace context and metadata were read
  bool metadata_known_ = false;
  std::uint64_t without_time_ = 0;  // events whose occurredAt could not be read
};

}  // namespace tidings
