#pragma once

// Headers of an event that `tidings dlq redrive` has sent again. Such a message is in the stream for one
// group only: all others ack it and pass it over. They are part of the wire (docs/dead-letters.md).

namespace tidings::redrive_headers {

/// The group that the message is for.
inline constexpr const char* for_group = "tidings-for-group";
/// Also of dead letters: the event's id. It goes before Nats-Msg-Id, which is the redrive's own.
inline constexpr const char* original_id = "tidings-original-id";
/// The sequence at which the event came into its stream for the first time.
inline constexpr const char* first_sequence = "tidings-first-sequence";

}  // namespace tidings::redrive_headers
