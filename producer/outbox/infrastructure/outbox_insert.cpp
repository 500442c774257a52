#include <tidings/outbox_insert.hpp>

#include <algorithm>

namespace tidings::outbox_insert {

Parameters parameters(const DomainEvent& event) {
  Parameters texts{event.id,
                   event.aggregate_id,
                   event.aggregate_type,
                   event.event_type,
                   event.event_data(),
                   std::to_string(event.event_version),
                   to_iso8601(event.occurred_at)};
  // Libraries in C would cut the text there, in silence.
  for (const auto& text : texts)
    if (text.find('\0') != std::string::npos)
      throw Error("cannot write the event " + event.id.substr(0, event.id.find('\0')) +
                  ": a text in it has a NUL");
  return texts;
}

}  // namespace tidings::outbox_insert
